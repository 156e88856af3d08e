"""What an export takes and how closely it agrees, per model and format.

    python benchmarks/export.py [MODEL ...] [--formats pt2,onnx] [--defense none|int8|gaussian]

Prints one row a model and format: seconds for writing and checking, seconds of a bare `torch.export.export` of the
same model in the same run (what writing two halves cannot beat by much), size of all files against the bytes of the
weights (the least they can hold), largest difference of the model's output, and whether the highest score stayed.
Weights are random, but for ResNet-20.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import advisor
from advisor.defenses import DEFENSES, Defense, GaussianNoise
from advisor.errors import AdvisorError
from advisor.plans import Plan

ROW = "{:<14} {:<5} {:>8} {:>8} {:>8} {:>8} {:>10} {:>6}  {}"


class Lstm(nn.Module):
    """Two recurrent layers over forty steps, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 64, 2, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, 40, 16]` to `[N, 10]`."""
        return self.head(torch.relu(self.lstm(x)[0])[:, -1])


def digits_cnn() -> tuple[nn.Module, Any]:
    sizes = ((1, 16), (16, 32), (32, 64))
    blocks = [nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()) for i, o in sizes]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), torch.rand(2, 1, 8, 8)


def resnet20() -> tuple[nn.Module, Any]:
    """The project's shared ResNet-20 with its trained weights."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "resnet20.py").is_file():
        raise AdvisorError(f"There is no resnet20.py in {folder}.")
    sys.path.insert(0, str(folder))
    module: Any = __import__("resnet20")
    model = module.resnet20()
    model.load_state_dict(torch.load(folder / "resnet20_cifar10.pth", weights_only=True))
    return model, torch.rand(2, 3, 32, 32)


def vision(name: str) -> Callable[[], tuple[nn.Module, Any]]:
    def make() -> tuple[nn.Module, Any]:
        from torchvision import models

        model = models.get_model(name, weights=None)
        for module in model.modules():  # ViT's head starts as zeros, which would make every comparison pass
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.02)
        return model, torch.rand(2, 3, 224, 224)

    return make


def bert() -> tuple[nn.Module, Any]:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=500, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, num_labels=5
    )
    ids = torch.randint(0, 500, (2, 16))
    return BertForSequenceClassification(config), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


MODELS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "digits_cnn": digits_cnn,
    "resnet20": resnet20,
    "lstm": lambda: (Lstm(), torch.rand(2, 40, 16)),
    "bert_tiny": bert,
    **{name: vision(name) for name in ("resnet18", "mobilenet_v2", "densenet121", "vit_b_16")},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"any of {', '.join(MODELS)}; default all")
    parser.add_argument("--formats", default="pt2,onnx")
    parser.add_argument("--defense", default="none", choices=list(DEFENSES))
    given = parser.parse_args()
    if unknown := set(given.models) - set(MODELS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(MODELS)}")
    defense = GaussianNoise(0.1) if given.defense == "gaussian" else DEFENSES[given.defense]()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, middle cut, defense: {defense}")
    print(ROW.format("model", "to", "seconds", "bare s", "files MB", "least", "max diff", "top-1", ""))
    good = [_report(name, given.formats.split(","), defense) for name in given.models or MODELS]
    return 0 if all(good) else 1


def _report(name: str, formats: list[str], defense: Defense) -> bool:
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, example = MODELS[name]()
            graph = advisor.trace(model.eval(), example)
            bare = _bare_export(model, example)
    except (ImportError, AdvisorError) as error:
        print(ROW.format(name, "", "", "", "", "", "", "", f"skipped: {error}"))
        return True
    floats = [cut for cut in graph.cuts if all(spec.is_floating for spec in cut.tensors)]
    plan = Plan((floats[len(floats) // 2],), defense, {}, inputs=graph.inputs, graph=graph)
    least = sum(p.numel() * p.element_size() for p in model.state_dict().values()) / 1e6
    rows = [_one(name, plan, kind, bare, least) for kind in formats]
    return all(rows)


def _bare_export(model: nn.Module, example: Any) -> float:
    start = time.perf_counter()
    args, kwargs = ((), example) if isinstance(example, dict) else ((example,), {})
    torch.export.export(model, args, kwargs, strict=False)
    return time.perf_counter() - start


def _one(name: str, plan: Plan, kind: Any, bare: float, least: float) -> bool:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        try:
            made = plan.export(Path(folder) / "out", kind)
        except AdvisorError as error:
            print(ROW.format(name, kind, f"{time.perf_counter() - start:.1f}", "", "", "", "", "", error), flush=True)
            return False
        seconds = time.perf_counter() - start
    size, found = sum(entry.bytes for entry in made.files.values()) / 1e6, made.check
    same = "n/a" if found.top1_equal != found.top1_equal else f"{found.top1_equal:.0%}"
    print(
        ROW.format(
            name, kind, f"{seconds:.1f}", f"{bare:.1f}", f"{size:.2f}", f"{least:.2f}",
            "exact" if found.exact else f"{found.max_abs_difference:.1e}", same, f"cut {plan.cut.name}",
        ),
        flush=True,
    )  # fmt: skip
    return True


if __name__ == "__main__":
    sys.exit(main())
