"""Image quality of reconstructions, per image, by torchmetrics: SSIM with a 7×7 uniform window.

SSIM and PSNR are taken over the range of the originals' values: 1 for inputs in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional as F

from advisor.errors import NotMeasurableError
from advisor.measures.flat_rows import flat
from advisor.request_parts import LARGEST_SIDE, NATIVE, check_attack_size
from advisor.value_range import ValueRange

SSIM_WINDOW, GAUSSIAN_WINDOW = 7, 11
MOST_DECIBELS = 100.0
PICTURE_SIDE = 32
"""Pixels: larger images are reconstructed, and their SSIM taken, at this size, where no other is asked for."""

_side: ContextVar[int] = ContextVar("picture side", default=PICTURE_SIDE)


@contextmanager
def at_size(wanted: int | str | None) -> Iterator[None]:
    """Within the block images are reconstructed at up to so many pixels a side; "native": at their own size.

    None: as around the block.

    Raises:
        AdvisorError: on anything that is no size.
    """
    token = _side.set(_side.get() if wanted is None else side_of(wanted))
    try:
        yield
    finally:
        _side.reset(token)


def side_of(wanted: int | str) -> int:
    """Pixels a side of `native` or a number.

    Raises:
        AdvisorError: on anything else.
    """
    check_attack_size(str(wanted))
    return LARGEST_SIDE if wanted == NATIVE else int(wanted)


def picture_side() -> int:
    """Pixels a side up to which images are reconstructed now."""
    return _side.get()


def mse(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Mean squared error per element, `[n]`, for inputs `[n, ...]`."""
    return flat((reconstruction - original).square()).mean(1)


def psnr(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, `[n]`; at most 100 dB, beyond which float32 only rounds."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    dims, width = tuple(range(1, original.dim())), ValueRange.of(original).width
    value = peak_signal_noise_ratio(reconstruction, original, data_range=width, dim=dims, reduction="none")
    return torch.as_tensor(value).clamp_max(MOST_DECIBELS)


def ssim(reconstruction: Tensor, original: Tensor, gaussian: bool = False) -> Tensor:
    """Structural similarity (Wang et al. 2004), `[n]`, for images `[n, c, h, w]`; borders are reflected.

    Args:
        reconstruction, original: of the same shape.
        gaussian: the paper's own 11×11 window of σ = 1.5, instead of a uniform one of 7×7.

    Raises:
        NotMeasurableError: when the images are smaller than the window.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    window = GAUSSIAN_WINDOW if gaussian else SSIM_WINDOW
    if min(original.shape[-2:]) < window:
        raise NotMeasurableError(f"SSIM needs images of at least {window} pixels a side")
    pair = (ValueRange.of(original).to_unit(images) for images in (reconstruction, original))
    value = structural_similarity_index_measure(
        *pair, gaussian_kernel=gaussian, sigma=1.5, kernel_size=window, data_range=1.0, reduction="none"
    )
    return torch.as_tensor(value).reshape(len(original))


def pictures(x: Tensor, side: int | None = None) -> Tensor:
    """Images `[n, c, h, w]` reduced to at most `side` pixels, aspect kept, anti-aliased, in their own range.

    None: to the size at which images are reconstructed now.
    """
    side = picture_side() if side is None else side
    longest = max(x.shape[-2:])
    if longest <= side:
        return x.float()
    size = [max(1, round(side * length / longest)) for length in x.shape[-2:]]
    smaller = F.interpolate(x.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return ValueRange.of(x).clip(smaller)


def is_image_batch(x: Tensor) -> bool:
    """Whether `[n, c, h, w]` floats with 1, 3 or 4 channels."""
    return x.dim() == 4 and x.shape[1] in (1, 3, 4) and x.dtype.is_floating_point
