"""Image quality of reconstructions, per image, by torchmetrics: SSIM with a 7×7 uniform window.

SSIM and PSNR are taken over the range of the originals' values: 1 for inputs in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from advisor.sweep import NotMeasurableError
from advisor.value_range import ValueRange

SSIM_WINDOW = 7
MOST_DECIBELS = 100.0
PICTURE_SIDE = 32
"""Pixels: images larger than this are reconstructed, and their SSIM taken, at this size."""


def mse(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Mean squared error per element, `[n]`, for inputs `[n, ...]`."""
    return (reconstruction - original).square().flatten(1).mean(1)


def psnr(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, `[n]`; at most 100 dB, beyond which float32 only rounds."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    dims, width = tuple(range(1, original.dim())), ValueRange.of(original).width
    value = peak_signal_noise_ratio(reconstruction, original, data_range=width, dim=dims, reduction="none")
    return torch.as_tensor(value).clamp_max(MOST_DECIBELS)


def ssim(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), `[n]`, for images `[n, c, h, w]`; borders are reflected.

    Raises:
        NotMeasurableError: when the images are smaller than the window.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    if min(original.shape[-2:]) < SSIM_WINDOW:
        raise NotMeasurableError(f"SSIM needs images of at least {SSIM_WINDOW} pixels a side")
    pair = (ValueRange.of(original).to_unit(images) for images in (reconstruction, original))
    value = structural_similarity_index_measure(
        *pair, gaussian_kernel=False, kernel_size=SSIM_WINDOW, data_range=1.0, reduction="none"
    )
    return torch.as_tensor(value).reshape(len(original))


def pictures(x: Tensor, side: int = PICTURE_SIDE) -> Tensor:
    """Images `[n, c, h, w]` reduced to at most `side` pixels, aspect kept, anti-aliased, in their own range."""
    longest = max(x.shape[-2:])
    if longest <= side:
        return x.float()
    size = [max(1, round(side * length / longest)) for length in x.shape[-2:]]
    smaller = F.interpolate(x.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return ValueRange.of(x).clip(smaller)


def is_image_batch(x: Tensor) -> bool:
    """Whether `[n, c, h, w]` floats with 1, 3 or 4 channels."""
    return x.dim() == 4 and x.shape[1] in (1, 3, 4) and x.dtype.is_floating_point
