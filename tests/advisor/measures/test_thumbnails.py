from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.datasets import load_digits

from advisor.measures.thumbnails import thumbnail_nmse, thumbnail_scale


def by_loops(x: np.ndarray, side: int) -> float:
    """The definition, a block at a time."""
    drawn, step = x.copy(), x.shape[-1] // side
    for row in range(0, x.shape[-2], step):
        for column in range(0, x.shape[-1], step):
            block = x[..., row : row + step, column : column + step]
            drawn[..., row : row + step, column : column + step] = block.mean((2, 3), keepdims=True)
    return float(((x - drawn) ** 2).mean() / ((x - x.mean(0)) ** 2).mean())


def test_against_blocks_drawn_one_by_one() -> None:
    x = load_digits().images[:200, None] / 16
    for side in (1, 2, 4):
        assert math.isclose(thumbnail_nmse(torch.from_numpy(x), side), by_loops(x, side), rel_tol=1e-9)


def test_a_thumbnail_as_large_as_the_image_leaves_nothing_and_a_flat_set_has_none() -> None:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert thumbnail_nmse(x, 8) == 0
    assert math.isnan(thumbnail_nmse(torch.ones(3, 1, 8, 8), 2))


def test_the_scale_falls_with_the_side_and_ends_below_the_images() -> None:
    scale = thumbnail_scale(torch.from_numpy(load_digits().images[:, None] / 16).float())
    assert list(scale) == [1, 2, 4]
    assert sorted(scale.values(), reverse=True) == list(scale.values())
