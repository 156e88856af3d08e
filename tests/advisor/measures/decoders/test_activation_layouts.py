from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from advisor.measures.decoders.activation_layouts import SKETCH, arrange, cell_factor, flat_vector, grid

PICTURE = (8, 8)


def pictures(height: int = 8, width: int = 8, channels: int = 3) -> Tensor:
    return torch.rand(5, channels, height, width, generator=torch.Generator().manual_seed(0))


def numbered(*shape: int) -> Tensor:
    """[2, *shape], all numbers different, so that a wrong reading cannot pass."""
    return torch.arange(2 * torch.Size(shape).numel()).reshape(2, *shape).float()


def test_a_map_stays_as_it_is() -> None:
    z = numbered(6, 4, 4)
    assert torch.equal(grid(z, PICTURE), z)


def test_channels_last_maps_are_turned() -> None:
    z = numbered(6, 4, 4)
    assert torch.equal(grid(z.permute(0, 2, 3, 1), PICTURE), z)
    wide = numbered(5, 2, 4)
    assert torch.equal(grid(wide.permute(0, 2, 3, 1), (8, 16)), wide)
    assert torch.equal(grid(wide, (8, 16)), wide)


@pytest.mark.parametrize("picture", [(8, 8), (8, 32)])
def test_tokens_become_a_grid_of_the_pictures_proportions(picture: tuple[int, int]) -> None:
    rows, columns = 2, 2 * picture[1] // picture[0]
    z = numbered(6, rows, columns)
    tokens = z.flatten(2).transpose(1, 2)
    assert torch.equal(grid(tokens, picture), z)
    assert torch.equal(grid(z.flatten(2), picture), z)  # tokens last


def test_a_class_token_is_spread_over_the_grid() -> None:
    z, token = numbered(6, 4, 4), numbered(6) + 1000
    tokens = torch.cat([token[:, None], z.flatten(2).transpose(1, 2)], 1)
    found = grid(tokens, PICTURE)
    assert torch.equal(found[:, :6], z)
    assert torch.equal(found[:, 6:], token[:, :, None, None].expand(-1, -1, 4, 4))


@pytest.mark.parametrize("shape", [(6,), (6, 1, 1), (6, 1, 3), (7, 11), (2, 3, 4, 5), (1, 6)])
def test_what_is_no_map_is_read_as_a_vector(shape: tuple[int, ...]) -> None:
    z = numbered(*shape)
    features, layout = arrange((z,), pictures()[:2], True)
    assert layout.kind == "vector"
    assert torch.equal(features, z.flatten(1))


@pytest.mark.parametrize(
    ("side", "picture", "cells", "factor"),
    [(4, 8, 4, 2), (3, 8, 4, 2), (5, 28, 7, 4), (7, 28, 7, 4), (6, 9, 9, 1), (16, 7, 7, 1), (2, 8, 2, 4)],
)
def test_maps_of_any_size_meet_the_picture(side: int, picture: int, cells: int, factor: int) -> None:
    """3 of 8 and 5 of 28 do not divide; 16 is larger than the picture."""
    features, layout = arrange((numbered(40, side, side),), pictures(picture, picture)[:2], True)
    assert (features.shape[1:], layout.factor) == ((40, cells, cells), factor)
    assert cells * factor == picture


@pytest.mark.parametrize(
    ("channels", "side", "cells", "size"),
    [(134, 5, 5, (8, 8)), (133, 5, 8, None), (134, 3, 4, None), (134, 4, 4, None)],
)
def test_maps_of_many_channels_are_left_to_the_decoder_to_enlarge(
    channels: int, side: int, cells: int, size: tuple[int, int] | None
) -> None:
    """Not where there are few cells, which are read as a vector too, nor where none are missing."""
    features, layout = arrange((numbered(channels, side, side),), pictures(8, 8)[:2], True)
    assert (features.shape[1:], layout.size) == ((channels, cells, cells), size)


def test_a_map_of_the_pictures_own_size_is_folded_without_loss() -> None:
    z = numbered(5, 8, 8)
    features, layout = arrange((z,), pictures()[:2], True)
    assert (layout.factor, features.shape) == (2, (2, 20, 4, 4))
    assert torch.equal(F.pixel_shuffle(features, 2), z)


def test_several_maps_are_stacked_and_a_vector_among_them_flattens_all() -> None:
    fine, coarse = numbered(40, 4, 4), numbered(3, 2, 2)
    features, layout = arrange((fine, coarse), pictures()[:2], True)
    assert (layout.factor, features.shape) == (2, (2, 43, 4, 4))
    assert torch.equal(features[:, :40], fine)
    mixed, layout = arrange((fine, numbered(7)), pictures()[:2], True)
    assert (layout.kind, mixed.shape) == ("vector", (2, 647))


def test_inputs_that_are_no_images_are_always_vectors() -> None:
    features, layout = arrange((numbered(6, 4, 4),), torch.zeros(2, 9), False)
    assert (layout.kind, features.shape) == ("vector", (2, 96))


def test_integers_and_halves_become_float32() -> None:
    for dtype in (torch.int64, torch.float16, torch.bool):
        assert arrange((torch.ones(2, 5, dtype=dtype),), torch.zeros(2, 3), False)[0].dtype == torch.float32


def test_factor_keeps_at_least_the_rows_asked_for() -> None:
    for height in (7, 8, 12, 28, 32):
        for rows in range(1, 40):
            factor = cell_factor((height, height), rows)
            assert height % factor == 0
            assert height // factor >= min(rows, height)
            larger = [f for f in range(factor + 1, height + 1) if height % f == 0]
            assert all(height // f < min(rows, height) for f in larger)


def test_sketch_of_a_wide_vector_keeps_inner_products() -> None:
    """Its error is at most √(2/4096) = 2.2 % of the lengths, one standard deviation."""
    z = torch.randn(12, 20_000, generator=torch.Generator().manual_seed(1))
    z[6:] += 2 * z[:6]
    sketch = flat_vector([z[:, :9000], z[:, 9000:]])
    assert sketch.shape == (12, SKETCH)
    exact, lengths = z @ z.T, z.norm(dim=1)
    error = (sketch @ sketch.T - exact) / (lengths[:, None] * lengths[None, :])
    assert 0.005 < float(error.square().mean().sqrt()) < 0.03
    assert torch.equal(sketch, flat_vector([z]))
