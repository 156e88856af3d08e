"""Which tracer takes which hard model, alone: taken and exact, refused, or wrong in silence.

    python benchmarks/tracers.py

The models are those of tests/advisor/tracing/test_fallbacks.py: some to be taken, some to be refused, as their branches
or sizes follow the input, or as nothing could be cut. A graph is exact where it gives what the model gives for 2, 3 and
5 samples of other values. Limit: the advisor takes exactly the first and refuses the others. Exits 1 where it is
passed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim

sys.path.insert(0, str(Path(__file__).parents[1]))

from advisor.loading.torchscript.converter import convert
from advisor.tracing.fallbacks import same
from advisor.tracing.tracer import trace
from tests.advisor.tracing.test_fallbacks import REFUSED, TAKEN, built, numbers

DYNAMIC = ({0: Dim.AUTO},)
TRACERS: dict[str, Callable[[nn.Module], Any]] = {
    "export": lambda m: torch.export.export(m, (numbers(2),), dynamic_shapes=DYNAMIC, strict=False).module(),
    "strict": lambda m: torch.export.export(m, (numbers(2),), dynamic_shapes=DYNAMIC, strict=True).module(),
    "torchscript": lambda m: convert(torch.jit.trace(m, numbers(2), check_trace=False), (numbers(2),)).module(),
    "fx": lambda m: torch.fx.symbolic_trace(m),
    "advisor": lambda m: trace(m, numbers(2)),
}
WIDTH = 12


def main() -> int:
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    kinds = [*TAKEN, *REFUSED]
    print(f"{'model':<20}" + "".join(f"{name:>{WIDTH}}" for name in TRACERS))
    rows = {}
    for kind in kinds:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
            rows[kind] = {name: verdict(kind, tracer) for name, tracer in TRACERS.items()}
        print(f"{kind.__name__:<20}" + "".join(f"{word:>{WIDTH}}" for word in rows[kind].values()), flush=True)
    for word in ("exact", "WRONG"):
        counts = [sum(row[name] == word for row in rows.values()) for name in TRACERS]
        print(f"{word + ' of ' + str(len(kinds)):<20}" + "".join(f"{count:>{WIDTH}}" for count in counts))
    told = [row["advisor"] == ("exact" if kind in TAKEN else "refused") for kind, row in rows.items()]
    return int(not all(told))


def verdict(kind: type[nn.Module], tracer: Callable[[nn.Module], Any]) -> str:
    """What came of one tracer on one model."""
    try:
        graph = tracer(built(kind))
    except Exception:  # noqa: BLE001 - refused, in whatever words
        return "refused"
    try:
        exact = all(same(graph(numbers(rows) * 3), built(kind)(numbers(rows) * 3)) for rows in (2, 3, 5))
    except Exception:  # noqa: BLE001 - it fails aloud on another batch
        return "fails"
    return "exact" if exact else "WRONG"


if __name__ == "__main__":
    sys.exit(main())
