"""Whether what people save of torchvision's models loads without trust: traced and scripted TorchScript, and `.pt2`.

    python -m benchmarks.trust_zoo [--ways trace script export] [NAME ...]

Prints a line for each that does not, with the reason; and how many do.
"""

from __future__ import annotations

import argparse
import collections
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from advisor.loading.archives import inspect_archive
from advisor.loading.content import Content
from advisor.loading.exported_programs import pt2
from advisor.loading.torchscript.converter import script_dangers
from advisor.loading.torchscript.graphs import graph_dangers

WAYS = ("trace", "script", "export")
PIXELS = {"inception_v3": 299}


def reasons(model: nn.Module, way: str, x: torch.Tensor) -> list[str]:
    """Why a saved model would need trust; empty where it loads without.

    Raises:
        Exception: torch itself cannot trace, script or export the model.
    """
    buffer = io.BytesIO()
    if way == "export":
        torch.export.save(torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), buffer)
        return list(pt2.dangers(inspect_archive(Content(Path("model.pt2"), buffer.getvalue()))))
    script: Any = torch.jit.script(model) if way == "script" else None
    if script is None:
        script = torch.jit.trace(model, x, check_trace=False)  # type: ignore[no-untyped-call]
    torch.jit.save(script, buffer)  # type: ignore[no-untyped-call]
    archive = inspect_archive(Content(Path("model.pt"), buffer.getvalue()))
    return [*script_dangers(archive), *graph_dangers(script)]


def main() -> int:
    """Go through the models; 1 when one of them would need trust."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=torchvision.models.list_models(module=torchvision.models))
    parser.add_argument("--ways", nargs="*", default=WAYS)
    options = parser.parse_args()
    counts = collections.Counter[str]()
    for name in options.names:
        known = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, **known).eval()
        pixels = PIXELS.get(name, 224)
        for way in options.ways:
            try:
                found = reasons(model, way, torch.rand(2, 3, pixels, pixels))
            except Exception as error:  # noqa: BLE001 - torch's own limits are told apart from ours
                counts[f"{way}: torch cannot"] += 1
                print(f"{name} {way}: torch cannot: {str(error).splitlines()[0][:150]}", flush=True)
                continue
            counts[f"{way}: {'needs trust' if found else 'loads'}"] += 1
            if found:
                print(f"{name} {way} needs trust: {found[0]}", flush=True)
    print(dict(counts))
    return int(any(key.endswith("needs trust") for key in counts))


if __name__ == "__main__":
    sys.exit(main())
