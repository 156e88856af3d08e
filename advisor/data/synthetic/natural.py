"""A stated prior of natural images: textured dead leaves over 1/f noise, with the mean and contrast of photographs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

MEAN = np.array([0.485, 0.456, 0.406])
"""Mean of each colour over ImageNet, as torchvision's transforms state it."""
COLOURS = (
    np.array(  # principal colour directions (columns) of ImageNet and their variances: Krizhevsky et al. 2012, §4.1
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    * np.sqrt([0.2175, 0.0188, 0.0045])
)
CONTRAST, CONTRAST_SPREAD = 0.20, 0.35  # median standard deviation within an image, and its spread (log)
BRIGHTNESS_SPREAD = 0.10
TEXTURE = 0.2  # share of 1/f noise in an image; the rest is leaves
LEAVES = 80
SMALL = 64  # pixels
SMALLEST, LARGEST = 0.1, 0.7  # leaf radii as shares of the shorter side


def natural_images(shape: tuple[int, int, int], n: int, seed: int) -> Tensor:
    """Images `[n, C, H, W]` in [0, 1] with the second-order statistics of photographs.

    Dead leaves (disks of power-law size that occlude each other: edges and flat parts; Lee, Mumford & Huang 2001) plus
    colour noise with amplitude 1/f (Field 1987), in ImageNet's colour directions, of a random brightness and contrast.
    Small images are drawn twice as large and averaged, as a camera would.
    They hold no objects: what a network makes of them says how much passes, not what it recognises.

    Args:
        shape: channels, height, width. Three channels are coloured, others drawn alike.
        n: number of images.
        seed: same seed, same images.
    """
    import torch

    images = np.stack([_image(shape, np.random.default_rng([seed, i])) for i in range(n)])
    return torch.as_tensor(images.astype(np.float32))


def _image(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    channels, height, width = shape
    fine = 2 if min(height, width) <= SMALL else 1
    drawn = (channels, fine * height, fine * width)
    mixed = (1 - TEXTURE) * _unit(dead_leaves(drawn, rng)) + TEXTURE * _unit(pink_noise(drawn, rng))
    mixed = mixed.reshape(channels, height, fine, width, fine).mean(axis=(2, 4))
    contrast = CONTRAST * math.exp(CONTRAST_SPREAD * float(rng.standard_normal()))
    mean = MEAN if channels == 3 else np.full(channels, MEAN.mean())
    brightness = mean + BRIGHTNESS_SPREAD * float(rng.standard_normal())
    return np.asarray(np.clip(brightness[:, None, None] + contrast * _unit(mixed), 0.0, 1.0))


def _unit(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 in each channel, standard deviation 1 over all."""
    centred = image - image.mean(axis=(1, 2), keepdims=True)
    return np.asarray(centred / max(float(centred.std()), 1e-12))


def _coloured(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Independent channels into ImageNet's colour directions; other than three channels share one luminance."""
    if len(values) == 3:
        return np.asarray(np.tensordot(COLOURS, values, axes=1))
    return np.asarray(0.9 * values[:1] + 0.1 * values)


def pink_noise(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian noise `[C, H, W]` whose amplitude falls as 1/f."""
    channels, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = math.inf
    spectrum = np.fft.rfft2(rng.standard_normal((channels, height, width))) / frequency
    return _coloured(np.fft.irfft2(spectrum, s=(height, width)))


def dead_leaves(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Disks `[C, H, W]`, each over those before it; radii fall as r^-3, which makes the model scale-invariant."""
    channels, height, width = shape
    canvas = pink_noise(shape, rng)
    canvas /= max(float(canvas.std()), 1e-12)
    shades = _coloured(rng.standard_normal((channels, LEAVES)))
    shades /= max(float(shades.std()), 1e-12)
    low, high = (share * min(height, width) for share in (SMALLEST, LARGEST))
    radii = (low**-2 + rng.random(LEAVES) * (high**-2 - low**-2)) ** -0.5
    for i, (y, x) in enumerate(rng.random((LEAVES, 2)) * (height, width)):
        top, left = max(int(y - radii[i]), 0), max(int(x - radii[i]), 0)
        patch = canvas[:, top : int(y + radii[i]) + 2, left : int(x + radii[i]) + 2]
        rows, columns = np.ogrid[top : top + patch.shape[1], left : left + patch.shape[2]]
        inside = (rows + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2 <= radii[i] ** 2
        patch[:, inside] = shades[:, i, None]
    return canvas
