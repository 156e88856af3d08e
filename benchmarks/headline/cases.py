"""Networks with their data: what the owner trained on, and what no network has seen."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.headline import nets

DATA = Path(os.environ.get("PARTITION_ADVISOR_DATA", Path(__file__).parents[3] / "shared" / "data"))
"""Folder of `cifar10_small.npz`, `resnet20.py` and its weights."""


@dataclass(frozen=True, eq=False)
class Data:
    """One data set, split in two.

    Attributes:
        owner: inputs `[n, ...]` and labels `[n]` that networks are trained on.
        unseen: inputs and labels that no network was trained on: the attacker's and the estimators'.
    """

    owner: tuple[Tensor, Tensor]
    unseen: tuple[Tensor, Tensor]


def cifar10() -> Data:
    """12,000 and 4,000 images `[n, 3, 32, 32]` in [0, 1]."""
    with np.load(DATA / "cifar10_small.npz") as file:
        parts = [torch.from_numpy(file[name]) for name in ("x_train", "y_train", "x_test", "y_test")]
    return Data((parts[0].float() / 255, parts[1].long()), (parts[2].float() / 255, parts[3].long()))


def cifar10_small() -> Data:
    """The same at 16×16 pixels, averaged: networks and attacks are four times cheaper."""
    whole = cifar10()
    (a, la), (b, lb) = whole.owner, whole.unseen
    return Data((F.avg_pool2d(a, 2), la), (F.avg_pool2d(b, 2), lb))


def _halved(x: Tensor, y: Tensor) -> Data:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    mine, other = order[: len(x) // 2], order[len(x) // 2 :]
    return Data((x[mine], y[mine]), (x[other], y[other]))


def digits() -> Data:
    """Two halves of the 1,797 scans `[n, 1, 8, 8]` of scikit-learn."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return _halved(torch.tensor(bunch.images).float().unsqueeze(1) / 16, torch.tensor(bunch.target).long())


def cells() -> Data:
    """Two halves of the 569 Wisconsin breast-cancer records `[n, 30]` of scikit-learn, standardised."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    x = torch.tensor(bunch.data).float()
    return _halved((x - x.mean(0)) / x.std(0), torch.tensor(bunch.target).long())


def resnet20() -> nn.Module:
    """The ResNet-20 that stands beside the data, trained."""
    spec = importlib.util.spec_from_file_location("headline_resnet20", DATA / "resnet20.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    model: nn.Module = module.resnet20()
    model.load_state_dict(torch.load(DATA / "resnet20_cifar10.pth", weights_only=True))
    return model.eval()


@dataclass(frozen=True)
class Case:
    """One network and one data set.

    Attributes:
        name: of both.
        data: loads the data.
        build: makes the network.
        epochs: of training; 0 for one that comes trained.
    """

    name: str
    data: Callable[[], Data]
    build: Callable[[], nn.Module]
    epochs: int = 0


CASES = {
    case.name: case
    for case in (
        Case("resnet20-cifar10", cifar10, resnet20),
        Case("vgg-cifar10", cifar10_small, nets.vgg, 8),
        Case("mobilenet-cifar10", cifar10_small, nets.mobilenet, 6),
        Case("cnn-cifar10", cifar10_small, nets.cnn, 10),
        Case("vit-cifar10", cifar10_small, nets.ViT, 10),
        Case("cnn-digits", digits, partial(nets.cnn, 10, 1, 8, (16, 32)), 40),
        Case("vit-digits", digits, partial(nets.ViT, 10, 1, 8, 2, 32, 4), 40),
        Case("mlp-digits", digits, partial(nets.mlp, 64, 10), 40),
        Case("mlp-cells", cells, partial(nets.mlp, 30, 2, (24, 16, 8, 4)), 40),
        Case("convmixer-cifar10", cifar10_small, nets.convmixer, 8),
        Case("resnext-cifar10", cifar10_small, nets.resnext, 6),
    )
}

FRESH = ("convmixer-cifar10", "resnext-cifar10")
"""Families that no number of the score was ever chosen on: their rows are kept apart, in `fresh`."""


def trained(case: Case, folder: Path, seed: int = 0) -> nn.Module:
    """The network of a case, from the folder where it is there, else trained and kept."""
    torch.manual_seed(seed)
    model = case.build()
    path = folder / f"{case.name}.pth"
    if case.epochs and not path.exists():
        train(model, *case.data().owner, case.epochs)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    if case.epochs:
        model.load_state_dict(torch.load(path, weights_only=True))
    return model.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, batch: int = 64) -> None:
    """AdamW, one cycle; colour images are mirrored at random."""
    steps = epochs * (len(x) // batch)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for step in range(steps):
        if step % (len(x) // batch) == 0:
            order = torch.randperm(len(x)).split(batch)
        rows = order[step % (len(x) // batch)]
        seen = x[rows]
        if x.dim() == 4 and x.shape[1] == 3:
            seen = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, seen.flip(-1), seen)
        loss = F.cross_entropy(model(seen), y[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        cycle.step()


def accuracy(model: nn.Module, data: Data) -> float:
    """Share of unseen samples that the network gets right."""
    x, y = data.unseen
    with torch.no_grad():
        right = [model(a).argmax(1) == b for a, b in zip(x.split(200), y.split(200), strict=True)]
    return float(torch.cat(right).float().mean())
