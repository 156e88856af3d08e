"""How inversion suffers from noise on z: the linear attack retrained for every noise level, all in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.estimate import NORMAL_90, Estimate
from advisor.estimators.linear import linear_weights, nmse, reconstructions
from advisor.measures.gram_matrices import Kernel, flat_pixels, pixel_gram, roles, sample_gram, train_kernel
from advisor.measures.ridge_inversion import ridge_predictions

LEVELS = 25
DECADES = (-3.0, 3.0)

NOISE_DOUBT = 0.16
"""Of what a bare attack explains, a strong one keeps kept^(1 ± this) under noise where linear inversion keeps `kept`.

Nine in ten of 70 reduced strong attacks on cuts of nine networks, with noise as large as z's spread, needed no more; 70
with less noise needed less. By the other networks alone, intervals hold 94 % of the attacks left out
(docs/leakage-score.md).
"""


@dataclass(frozen=True, eq=False)
class NoiseCurve:
    """NMSE of the best linear inversion against Gaussian noise of standard deviation `sigma` on z.

    Attributes:
        sigma: `[levels]`, ascending, units of z.
        nmse: `[levels]`.
        bare: NMSE without noise.
    """

    sigma: np.ndarray
    nmse: np.ndarray
    bare: float

    @property
    def scale(self) -> float:
        """The middle of its levels: the spread of z; NaN where it has none."""
        return float(self.sigma[len(self.sigma) // 2]) if len(self.sigma) else float("nan")

    def kept(self, sigma: float) -> float:
        """Share of what the bare attack explains that survives noise of this level, 0 to 1."""
        if sigma <= 0 or self.bare >= 1 or not len(self.sigma):
            return 1.0
        noisy = float(np.interp(np.log(sigma), np.log(self.sigma), self.nmse, left=self.bare))
        return float(np.clip((1 - noisy) / (1 - self.bare), 0.0, 1.0))

    def sigma_for(self, kept: float) -> float:
        """The least noise under which at most this share survives; infinity where none on the curve does."""
        shares = np.array([self.kept(s) for s in self.sigma])
        enough = np.flatnonzero(shares <= kept)
        return float(self.sigma[enough[0]]) if len(enough) else float("inf")


def under_noise(bare: Estimate, kept: float, floor: float, method: str, doubt: float = NOISE_DOUBT) -> Estimate:
    """What an attack is left with under noise: its distance from `floor`, the mean's, shrinks to the share `kept`.

    Args:
        bare: NMSE or SSIM without noise.
        kept: share that linear inversion keeps; its ends are kept^(1 ± doubt).
        floor: NMSE or SSIM of predicting the mean.
        method: said with the number.
        doubt: how much attacks differ in what noise does to them.
    """

    def at(value: float, share: float) -> float:
        return floor + (value - floor) * share

    least, most = kept ** (1 + doubt), kept ** (1 - doubt)
    ends = [at(end, share) for end in (bare.low, bare.high) for share in (least, most)]
    low, high = min(ends), max(ends)
    stderr = (high - low) / (2 * NORMAL_90)
    return Estimate(at(bare.value, kept), stderr, low, high, bare.unit, "estimated", method)


def noise_curve(view: CutView) -> NoiseCurve:
    """Test NMSE of ridge inversion under noise at training and at test time.

    Noise of variance σ² on the a train samples is, on average, a ridge penalty of a·σ² (Bishop 1995, eq. 26); at test
    time it adds σ²‖W‖² to the squared error, W being the weights. Reconstructions are not clipped here.

    Raises:
        NotMeasurableError: too few samples.
    """
    kernel, (train, test) = train_kernel(view), roles(view.targets)
    pixels = pixel_gram(view.targets)
    scale = float((kernel.values.sum() / (len(train) * view.z.shape[1])).sqrt())
    ceiling = float(pixels.diagonal()[test].mean())
    if scale <= 0 or ceiling <= 0:
        return NoiseCurve(np.empty(0), np.empty(0), 1.0)
    error = _NoisyError.of(kernel, pixels[train][:, train], pixels[test][:, train], ceiling)
    bare_penalty = kernel.penalty(error.energies)
    sigmas = scale * np.logspace(*DECADES, LEVELS)
    noisy = [error.at(bare_penalty + len(train) * float(s) ** 2, float(s)) for s in sigmas]
    bare = min(1.0, error.at(bare_penalty, 0.0))
    return NoiseCurve(sigmas, np.maximum.accumulate(np.clip(noisy, bare, 1.0)), bare)


@dataclass(frozen=True, eq=False)
class _NoisyError:
    """Mean squared error on the test samples as a quadratic form in the shrinkage 1/(λ + penalty): O(a²) a penalty.

    Attributes:
        values: `[a]` eigenvalues λ of the train kernel.
        energies: `[a]` squared length of the centred pixels along each eigenvector.
        seen: `[a]` mean over test samples of kernel products times pixel products.
        spread: `[a, a]` the same of the predictions' squared lengths.
        ceiling: mean squared length of the test targets.
    """

    values: Tensor
    energies: Tensor
    seen: Tensor
    spread: Tensor
    ceiling: float

    @classmethod
    def of(cls, kernel: Kernel, inner: Tensor, cross: Tensor, ceiling: float) -> _NoisyError:
        turned, products = kernel.cross @ kernel.vectors, cross @ kernel.vectors
        gram = kernel.vectors.T @ inner @ kernel.vectors
        count = len(cross)
        spread = (turned.T @ turned) * gram / count
        return cls(kernel.values, gram.diagonal(), (turned * products).sum(0) / count, spread, ceiling)

    def at(self, penalty: float, sigma: float) -> float:
        """NMSE with this penalty and noise of this standard deviation at test time."""
        # Along eigenvectors of value zero the products are rounding alone.
        shrink = torch.where(self.values > 0, 1 / (self.values + penalty), 0.0)
        fit = self.ceiling - 2 * float(shrink @ self.seen) + float(shrink @ self.spread @ shrink)
        weights = float((self.values * shrink.square() * self.energies).sum())
        return (fit + sigma**2 * weights) / self.ceiling


class NoiseCurves:
    """Keeps the curve of every cut for the search; has one column, what doubling the attacker's samples gains."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns = (
        ColumnSpec(
            "linear_gain", "1", "low", "measured", "linear NMSE with half the attacker's samples minus with all"
        ),
    )

    def __init__(self) -> None:
        self.curves: dict[str, NoiseCurve] = {}

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure one cut; one where a mask crosses beside numbers has no curve: noise leaves the mask as it is."""
        if all(spec.is_floating for spec in view.cut.tensors):
            self.curves[view.cut.name] = noise_curve(view)
        return {"linear_gain": learning_gain(view)}


def learning_gain(view: CutView) -> Estimate:
    """How much lower linear NMSE gets from the second half of the attacker's samples; at least 0.

    Each against the mean of the samples learnt from: a better mean is no leak.
    """
    train, test = roles(view.targets)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(view.seed))
    half = train[order[: max(3, len(train) // 2)]]
    gram = sample_gram(view)
    found = ridge_predictions(gram[half][:, half], gram[test][:, half], flat_pixels(view.targets)[half])
    found = view.targets.range.clip(found) if view.targets.images else found
    with_half = nmse(found, replace(view.targets, train=half), "half")
    with_all = nmse(reconstructions(linear_weights(view), view.targets), view.targets, "all")
    return Estimate.exact(max(0.0, with_half.value - with_all.value))
