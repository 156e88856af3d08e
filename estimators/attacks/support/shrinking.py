"""What an attacker does last: keeps of its reconstruction what held for samples of its own, frequency by frequency."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BANDS = 8


@dataclass(frozen=True, eq=False)
class Shrinking:
    """Least-squares gain of each band of spatial frequencies, about the attacker's mean.

    Attributes:
        mean: a number, or `[...]` where inputs are no images.
        gain: `[bands]`, 0 to 1.
    """

    mean: Tensor
    gain: Tensor

    @classmethod
    def fitted(cls, found: Tensor, truth: Tensor, mean: Tensor) -> Shrinking:
        """From reconstructions `[n, ...]` of samples whose truth the attacker knows."""
        band = bands(found)
        a, b = spectrum(found - mean), spectrum(truth - mean)
        product, energy = (a * b.conj()).real, (a * a.conj()).real
        sums = [torch.zeros(BANDS).index_add_(0, band.flatten(), t.sum((0, 1)).flatten()) for t in (product, energy)]
        return cls(mean, (sums[0] / sums[1].clamp_min(1e-12)).clamp(0, 1))

    def __call__(self, found: Tensor) -> Tensor:
        """`[n, ...]`, shrunk."""
        shrunk = spectrum(found - self.mean) * self.gain[bands(found)]
        if found.dim() == 4:
            back: Tensor = self.mean + torch.fft.irfft2(shrunk, s=found.shape[-2:], norm="ortho")
            return back
        return self.mean + shrunk.reshape(found.shape)


def spectrum(x: Tensor) -> Tensor:
    """`[n, c, h, w/2 + 1]` of images; anything else as it is, `[n, 1, 1, d]`."""
    return torch.fft.rfft2(x, norm="ortho") if x.dim() == 4 else x.reshape(len(x), 1, 1, -1)


def bands(x: Tensor) -> Tensor:
    """Band of each coefficient: octaves of the distance from zero frequency, so that the mean has one to itself."""
    if x.dim() != 4:
        return torch.zeros(1, x[0].numel(), dtype=torch.long)
    down, right = torch.fft.fftfreq(x.shape[-2]) * x.shape[-2], torch.fft.rfftfreq(x.shape[-1]) * x.shape[-1]
    radius = (down[:, None].square() + right[None].square()).sqrt()
    return torch.log2(radius + 1).round().long().clamp_max(BANDS - 1)
