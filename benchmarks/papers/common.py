"""What the checks against the papers share: data at hand, a ResNet-20, and a table that a killed run goes on with."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from advisor.files import write_atomically

HERE = Path(__file__).parent


def data_folder() -> Path:
    """Where CIFAR-10 images and the ResNet-20 lie: PARTITION_ADVISOR_DATA, or `shared/data` beside the checkout."""
    return Path(os.environ.get("PARTITION_ADVISOR_DATA") or HERE.parents[2] / "shared" / "data")


def cifar(part: str, count: int, start: int = 0) -> tuple[Tensor, Tensor]:
    """Real CIFAR-10 images `[count, 3, 32, 32]` in [0, 1] and labels; part is "train" or "test"."""
    with np.load(data_folder() / "cifar10_small.npz") as file:
        x, y = file[f"x_{part}"][start : start + count], file[f"y_{part}"][start : start + count]
    return torch.from_numpy(x).float() / 255, torch.from_numpy(y).long()


def resnet20(pretrained: bool = True) -> nn.Module:
    """The ResNet-20 at hand, 83.25 % on test images; or the same with random weights."""
    spec = importlib.util.spec_from_file_location("resnet20", data_folder() / "resnet20.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model: nn.Module = module.resnet20() if hasattr(module, "resnet20") else module.ResNet20()
    if pretrained:
        model.load_state_dict(torch.load(data_folder() / "resnet20_cifar10.pth", weights_only=True))
    return model.eval()


class Table:
    """Rows of a CSV, written after each, so that what is there is not computed again.

    Args:
        name: of the file beside the scripts.
        keys: how many leading columns tell rows apart.
    """

    def __init__(self, name: str, keys: int) -> None:
        self.path, self.keys = HERE / f"{name}.csv", keys
        self.rows: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))

    def row(self, *key: str, compute: Callable[[], dict[str, str]]) -> dict[str, str]:
        """The row of this key; computed and appended where it is not there yet."""
        for known in self.rows:
            if tuple(known.values())[: self.keys] == key:
                return known
        found = compute()
        assert tuple(found.values())[: self.keys] == key
        self.rows.append(found)
        lines = [",".join(_quoted(v) for v in values) for values in (found, *(r.values() for r in self.rows))]
        write_atomically(self.path, "\n".join(lines) + "\n")
        print(", ".join(f"{name} {value}" for name, value in found.items()), flush=True)
        return found


def _quoted(text: str) -> str:
    return f'"{text}"' if "," in text else text


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, rate: float, seed: int, flip: bool = True) -> nn.Module:
    """A classifier trained with Adam and a cosine fall of its rate, images flipped at random."""
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * -(-len(x) // 64))
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            part = x[batch].flip(-1) if flip and torch.rand(()) < 0.5 else x[batch]
            loss = nn.functional.cross_entropy(model(part), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval().requires_grad_(False)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share answered correctly."""
    with torch.no_grad():
        return float(torch.cat([model(p).argmax(1) for p in x.split(100)]).eq(y).double().mean())
