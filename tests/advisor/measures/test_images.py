from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from advisor.errors import NotMeasurableError
from advisor.measures.images import is_image_batch, mse, pictures, psnr, ssim


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def literal_ssim(a: np.ndarray, b: np.ndarray, window: int = 7) -> float:
    """Wang et al. (2004), eq. 13, at every place where the window fits, averaged over places and channels."""
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for channel in range(a.shape[0]):
        for y in range(a.shape[1] - window + 1):
            for x in range(a.shape[2] - window + 1):
                p, q = (image[channel, y : y + window, x : x + window].astype(float) for image in (a, b))
                covariance = (p * q).mean() - p.mean() * q.mean()
                top = (2 * p.mean() * q.mean() + c1) * (2 * covariance + c2)
                values.append(top / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (p.var() + q.var() + c2)))
    return float(np.mean(values))


def test_ssim_is_the_literal_formula() -> None:
    original = images(3, 2, 12, 10)
    noisy = (original + 0.2 * images(3, 2, 12, 10, seed=1)).clamp(0, 1)
    found = ssim(noisy, original)
    expected = [literal_ssim(n.numpy(), o.numpy()) for n, o in zip(noisy, original, strict=True)]
    assert found.numpy() == pytest.approx(expected, abs=2e-3)
    assert ssim(original, original).numpy() == pytest.approx([1, 1, 1])
    assert ssim(noisy[:1], original[:1]).shape == (1,)


def test_ssim_needs_room_for_its_window() -> None:
    assert float(ssim(images(1, 1, 7, 7), images(1, 1, 7, 7))) == pytest.approx(1, abs=1e-5)
    with pytest.raises(NotMeasurableError, match="at least 7 pixels"):
        ssim(images(2, 1, 6, 9), images(2, 1, 6, 9))


def test_squared_error_is_per_element_and_sample() -> None:
    a, b = images(4, 3, 5, 5), images(4, 3, 5, 5, seed=1)
    expected = [float(((p - q) ** 2).sum()) / 75 for p, q in zip(a, b, strict=True)]
    assert mse(a, b).numpy() == pytest.approx(expected, rel=1e-5)
    assert mse(a.reshape(4, 75), b.reshape(4, 75)).numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 5, 5), (4, 9)])
def test_psnr_is_its_formula_and_finite_for_a_perfect_copy(shape: tuple[int, ...]) -> None:
    a, b = images(*shape), images(*shape, seed=1)
    assert psnr(a, b).numpy() == pytest.approx([-10 * math.log10(m) for m in mse(a, b).tolist()], rel=1e-5)
    assert psnr(b, b).tolist() == [100.0] * 4


def test_likeness_does_not_depend_on_the_units_of_the_pictures() -> None:
    original = images(3, 2, 40, 12)
    original[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    noisy = (original + 0.1 * images(3, 2, 40, 12, seed=1)).clamp(0, 1)
    units = 4 * original - 2, 4 * noisy - 2
    assert psnr(units[1], units[0]).numpy() == pytest.approx(psnr(noisy, original).numpy(), abs=0.05)
    assert ssim(units[1], units[0]).numpy() == pytest.approx(ssim(noisy, original).numpy(), abs=2e-3)
    assert torch.allclose(pictures(units[0]), 4 * pictures(original) - 2, atol=1e-5)
    assert float(pictures(units[0]).min()) < 0


def test_large_pictures_are_reduced_with_their_aspect_and_mean() -> None:
    x = images(2, 3, 96, 64)
    found = pictures(x)
    assert found.shape == (2, 3, 32, 21)
    assert float(found.mean()) == pytest.approx(float(x.mean()), abs=0.01)
    blocks = images(1, 1, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert pictures(blocks, 8).shape == (1, 1, 8, 8)
    small = images(2, 1, 28, 20)
    assert torch.equal(pictures(small), small)


def test_reduction_averages_before_it_drops_pixels() -> None:
    """A fine checkerboard becomes grey; picking every other pixel would make it white or black."""
    board = torch.zeros(1, 1, 128, 128)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 1
    assert float((pictures(board) - 0.5).abs().max()) < 0.02


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((2, 3, 8, 8), torch.float32, True),
        ((2, 1, 8, 8), torch.float16, True),
        ((2, 4, 8, 8), torch.float64, True),
        ((2, 7, 8, 8), torch.float32, False),
        ((2, 3, 8), torch.float32, False),
        ((2, 3, 8, 8), torch.int64, False),
    ],
)
def test_images_are_known_by_their_shape(shape: tuple[int, ...], dtype: torch.dtype, expected: bool) -> None:
    assert is_image_batch(torch.zeros(shape, dtype=dtype)) is expected
