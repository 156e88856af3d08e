"""Trace torchvision's classification models: nodes, cuts, time against torch.export itself, exactness.

    python benchmarks/zoo.py                  # every model; exact at ten cuts each
    python benchmarks/zoo.py resnet50 swin_t  # some
    python benchmarks/zoo.py --all            # exact at every cut

Limits: every model traced and exact; trace + cuts at most 2 × torch.export.export of the same model (the ratio is taken
in one run), and at most 5 s for resnet50, densenet121, vit_b_16 and swin_t. Exits 1 where one is passed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.preserve import plain_attention
from advisor.tracing import trace

MAX_RATIO = 2.0
MAX_SECONDS = dict.fromkeys(("resnet50", "densenet121", "vit_b_16", "swin_t"), 5.0)
SAMPLED_CUTS = 10
ROW = "{:<26} {:>7} {:>6} {:>5} {:>8} {:>8} {:>6} {:>12}  {}"


@dataclass(frozen=True)
class Result:
    """What came out for one model; times in seconds."""

    nodes: int
    cuts: int
    export: float
    trace: float
    exact: int
    checked: int

    @property
    def ratio(self) -> float:
        """Trace and cuts over the bare export."""
        return self.trace / self.export


def main() -> int:
    """Walk the models, print a row each, say which limit was passed."""
    names, every_cut = _arguments()
    print(ROW.format("model", "traced", "nodes", "cuts", "export s", "trace s", "ratio", "exact", ""))
    _exported(nn.ReLU(), torch.rand(2, 3))  # the first export of a process pays for torch's own imports
    failures = [name for name in names if not _report(name, every_cut)]
    print(
        f"{len(names) - len(failures)} of {len(names)} inside the limits"
        + (f"; not: {', '.join(failures)}" if failures else "")
    )
    return int(bool(failures))


def _arguments() -> tuple[list[str], bool]:
    from torchvision import models

    known = models.list_models(module=models)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="*", default=known, metavar="MODEL", help="default: all")
    parser.add_argument("--all", action="store_true", help="check every cut, not a sample of them")
    given = parser.parse_args()
    if unknown := set(given.models) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return given.models, given.all


def _report(name: str, every_cut: bool) -> bool:
    try:
        found = measure(name, every_cut)
    except AdvisorError as error:
        print(ROW.format(name, "no", "", "", "", "", "", "", error))
        return False
    slow = found.ratio > MAX_RATIO or found.trace > MAX_SECONDS.get(name, float("inf"))
    inexact = found.exact < found.checked
    note = "; ".join(word for word, wrong in (("slow", slow), ("not exact", inexact)) if wrong)
    print(
        ROW.format(
            name, "yes", found.nodes, found.cuts, f"{found.export:.2f}", f"{found.trace:.2f}", f"{found.ratio:.2f}",
            f"{found.exact}/{found.checked}", note,
        ),
        flush=True,
    )  # fmt: skip
    return not note


def measure(name: str, every_cut: bool) -> Result:
    """Trace one model, check that its halves are exact."""
    from torchvision import models

    torch.manual_seed(0)
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = models.get_model(name, weights=None, **options).eval()
    x = torch.rand(2, 3, 224, 224)
    traced, graph = _timed(lambda: _with_cuts(model, x))
    exported, _ = _timed(lambda: _exported(model, x))
    exact, checked = _exact(model, graph, x, every_cut)
    nodes = sum(len(graph.piece_nodes(cut.index)) for cut in graph.cuts)
    return Result(nodes, len(graph.cuts), exported, traced, exact, checked)


def _timed(work: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _with_cuts(model: nn.Module, x: Tensor) -> PartitionGraph:
    graph = trace(model, x)
    assert graph.cuts
    return graph


def _exported(model: nn.Module, x: Tensor) -> Any:
    dynamic = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(model, (x,), dynamic_shapes=dynamic, strict=False)


def _exact(model: nn.Module, graph: PartitionGraph, x: Tensor, every_cut: bool) -> tuple[int, int]:
    count = len(graph.cuts)
    indices = (
        range(count)
        if every_cut
        else sorted({round(i * (count - 1) / (SAMPLED_CUTS - 1)) for i in range(SAMPLED_CUTS)})
    )
    with torch.no_grad(), plain_attention():
        expected = pytree.tree_leaves(model(x))
        halves = (graph.split(index) for index in indices)
        found = [pytree.tree_leaves(cloud(edge(x))) for edge, cloud in halves]
    return sum(all(map(torch.equal, outputs, expected)) for outputs in found), len(found)


if __name__ == "__main__":
    sys.exit(main())
