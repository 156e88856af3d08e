"""Small models and data as files, and the command line run in-process."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported; on tiny tensors threads only wait

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

SIDE, CLASSES, SAMPLES = 8, 10, 20

_register, _registered = torch.jit._builtins._register_builtin, list[object]()


def _register_and_keep(function: object, name: str) -> None:
    """TorchScript knows operators by id alone; what takes the place of a freed one would be taken for an operator."""
    _registered.append(function)
    _register(function, name)


torch.jit._builtins._register_builtin = _register_and_keep


def tiny_net(classes: int = CLASSES) -> nn.Module:
    """Two convolutions from 8×8 grey pixels to classes, with random weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(36, classes),
    ).eval()  # fmt: skip


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_net` as a torch.export program with a dynamic batch."""
    path = tmp_path_factory.mktemp("model") / "tiny.pt"
    program = torch.export.export(
        tiny_net(), (torch.zeros(2, 1, SIDE, SIDE),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False
    )
    with path.open("wb") as file:
        torch.export.save(program, file)
    return path


def samples(count: int = SAMPLES, shape: tuple[int, ...] = (1, SIDE, SIDE)) -> dict[str, np.ndarray]:
    """Random images in [0, 1] with labels that use every class."""
    rng = np.random.default_rng(0)
    return {"x": rng.random((count, *shape), dtype=np.float32), "y": np.arange(count) % CLASSES}


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty labelled random images for `tiny_model`, as an .npz file."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, **samples())
    return path


@contextmanager
def attacks_shortened() -> Iterator[None]:
    """Attacks in a few of their steps: for tests that ask what becomes of their numbers."""
    from advisor.estimators.inversion import alignment

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(alignment.BUDGETS, "quick", replace(alignment.QUICK, steps=30, epochs=5, checks=4))
        patch.setitem(alignment.BUDGETS, "strong", replace(alignment.STRONG, steps=60, epochs=10, checks=8))
        yield


@pytest.fixture(scope="module")
def short_attacks() -> Iterator[None]:
    with attacks_shortened():
        yield


Run = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `advisor` with these arguments inside `tmp_path`."""
    from advisor.cli import app

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, answer: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)

    return run


@pytest.fixture
def recommend(cli: Run, tiny_model: Path, tiny_data: Path) -> Run:
    """Run `advisor recommend` on the tiny model and data with few trials and no verification, unless told otherwise."""

    def run(*arguments: object, model: object = tiny_model, data: object = tiny_data, **options: str) -> Result:
        given = () if data is None else ("--data", data)
        return cli("recommend", model, *given, "--trials", 4, "--verify", "none", *arguments, **options)

    return run


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
