"""The frozen protocol: who has which images, the cuts, rows, noise levels, seeds. A change raises VERSION.

No choice is made on the private or the test images. Roles, of one file of images and one of further ones:
training = the 16,000 further images; attacker = the first 8,000 training images of the first file;
validation (stopping) = test images 0-999; private (attacked) = 1,000-1,999; test (final accuracy) = 2,000-3,999.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "papers"))
from common import cifar, data_folder

VERSION = 2
"""2: attacks draw noise anew in every pass (rows of version 1 faced a weaker attacker); fits are twice as long."""

CUTS = ("stem.2", "stage1.2.relu#2", "stage2.2.relu#2", "stage3.0.relu#2")
"""Of ResNet-20, in order of depth."""
SHAPES: Mapping[str, tuple[int, int]] = {
    "stem.2": (8, 4), "stage1.2.relu#2": (16, 4), "stage2.2.relu#2": (8, 2), "stage3.0.relu#2": (16, 2),
}  # fmt: skip
"""Width and stride of the payload; width 8 alone costs 3.8 pp at `stage1.2` and 2.9 at `stage3.0`."""

EPOCHS, IMAGES, BATCH = 6, 16_000, 128
"""Of a fit."""
FIT_SIGMA = (0.1, 0.5)
"""Noise during a fit, in units of the payload's root mean square."""
SIGMAS = (0.1, 0.25, 0.5)
"""Noise in use, in the same units: one fit serves all."""
DRAWS = 4
"""Of the noise, over which accuracy is averaged."""
SEEDS = (0, 1, 2)
SCREEN_SAMPLES, WORST_SAMPLES = 2_000, 8_000
"""The attacker's own images: in the screening by `quick`, and for the worst set."""
PRIVATE = 1_000
NEAR_PP = 6.0
MOST_WORST = 40
"""The worst set attacks at most so many rows, those that lose at most so many percentage points."""

METHODS: Mapping[str, Mapping[str, Any]] = {
    "bottleneck": {},
    "ridge": {},
    "refil": {},
    "infoscissors": {},
    "mid": {},
    "adversarial": {},
}
"""Methods with a payload of their own, and what of their recipe is not the default."""
DRAW_BY_THEMSELVES = ("mid",)
"""Methods whose fit says how much noise is drawn: they have one row, of level 0."""
RIDGE_WEIGHTS = {"stem.2": 0.6, "stage1.2.relu#2": 1.3, "stage2.2.relu#2": 1.5, "stage3.0.relu#2": 0.15}
"""Of `ridge`, by cut: how much accuracy may be lost decides it."""
HEAVIER = {"stage3.0.relu#2": 0.5}
"""A second weight, of rows of their own: published methods lose more there than the first one does."""


@dataclass(frozen=True)
class Row:
    """One defended split: what is measured under one key.

    Attributes:
        cut: of the undefended graph.
        method: "bare", "gaussian", "int8", or a method that is fitted.
        level: of the noise in units of the payload's root mean square; 0 for none.
        seed: of the fit and of the attacker.
        recipe: what of the method's recipe is not the default.
    """

    cut: str
    method: str
    level: float = 0.0
    seed: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What tells rows apart."""
        return self.cut, self.method, self.level, self.seed

    @property
    def fits(self) -> str:
        """The method that is fitted, without what tells two rows of it apart: "ridge" of "ridge 0.5"."""
        return self.method.partition(" ")[0]

    @property
    def fitted(self) -> bool:
        """Whether something is trained for it."""
        return self.method not in ("bare", "gaussian", "int8")


def rows(seed: int = 0) -> Iterator[Row]:
    """Every row of the screening, cut by cut."""
    for cut in CUTS:
        width, stride = SHAPES[cut]
        yield Row(cut, "bare", seed=seed)
        yield from (Row(cut, "gaussian", sigma, seed) for sigma in SIGMAS)
        yield Row(cut, "int8", 0.0, seed)
        yield from (Row(cut, "tuned", sigma, seed, {"tuned": "all"}) for sigma in SIGMAS)
        for method, recipe in METHODS.items():
            shaped = {"width": width, "stride": stride, **recipe}
            if method == "ridge":
                shaped["weight"] = RIDGE_WEIGHTS[cut]
            levels = (0.0,) if method in DRAW_BY_THEMSELVES else SIGMAS
            yield from (Row(cut, method, level, seed, shaped) for level in levels)
        if cut in HEAVIER:
            heavier = {"width": width, "stride": stride, "weight": HEAVIER[cut]}
            yield from (Row(cut, f"ridge {HEAVIER[cut]:g}", level, seed, heavier) for level in SIGMAS)
        yield Row(cut, "tuned-bare", 0.0, seed)
        yield Row(cut, "local-head", 0.0, seed)


def roles() -> dict[str, tuple[Tensor, Tensor]]:
    """Images `[N, 3, 32, 32]` in [0, 1] and labels `[N]` by role."""
    with np.load(data_folder() / "cifar10_more.npz") as file:
        x, y = torch.from_numpy(file["x_train"][:IMAGES]).float() / 255, torch.from_numpy(file["y_train"][:IMAGES])
    return {
        "training": (x, y.long()),
        "attacker": cifar("train", WORST_SAMPLES),
        "validation": cifar("test", 1_000),
        "private": cifar("test", PRIVATE, 1_000),
        "test": cifar("test", 2_000, 2_000),
    }
