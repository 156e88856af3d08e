"""How inversion suffers from noise on z: the linear attack retrained for every noise level, all in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from advisor.estimate import Estimate
from advisor.estimators.grams import flat_pixels, pixel_gram, roles, sample_gram, train_kernel
from advisor.estimators.linear import linear_weights, nmse, reconstructions, ridge_predictions
from advisor.sweep import ColumnSpec, CutView

LEVELS = 25
DECADES = (-3.0, 3.0)


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


def noise_curve(view: CutView) -> NoiseCurve:
    """Test NMSE of ridge inversion under noise at training and at test time.

    Noise of variance σ² on the a train samples is, on average, a ridge penalty of a·σ² (Bishop 1995, eq. 26); at test
    time it adds σ²‖W‖² to the squared error, W being the weights.

    Raises:
        NotMeasurableError: too few samples.
    """
    kernel, (train, test) = train_kernel(view), roles(view.targets)
    pixels = pixel_gram(view.targets)
    inner, cross = pixels[train][:, train], pixels[test][:, train]
    energies = ((inner @ kernel.vectors) * kernel.vectors).sum(0)
    bare_penalty = kernel.penalty(energies)
    scale = float((kernel.values.sum() / (len(train) * view.z.shape[1])).sqrt())
    ceiling = pixels[test, test].mean()
    if scale <= 0 or float(ceiling) <= 0:
        return NoiseCurve(np.empty(0), np.empty(0), 1.0)
    sigmas = scale * np.logspace(*DECADES, LEVELS)
    penalties = [bare_penalty + len(train) * float(s) ** 2 for s in sigmas]
    basis_cross = kernel.cross @ kernel.vectors
    basis_pixels, basis_inner = cross @ kernel.vectors, kernel.vectors.T @ inner @ kernel.vectors

    def error(penalty: float) -> torch.Tensor:
        weights = basis_cross / (kernel.values + penalty)
        return pixels[test, test] - 2 * (weights * basis_pixels).sum(1) + ((weights @ basis_inner) * weights).sum(1)

    def length(penalty: float) -> torch.Tensor:
        return (kernel.values / (kernel.values + penalty).square() * energies).sum()

    noisy = [float((error(p).mean() + s**2 * length(p)) / ceiling) for s, p in zip(sigmas, penalties, strict=True)]
    bare = min(1.0, float(error(bare_penalty).mean() / ceiling))
    return NoiseCurve(sigmas, np.maximum.accumulate(np.clip(noisy, bare, 1.0)), bare)


class NoiseCurves:
    """Keeps the curve of every cut for the search; has one column, what doubling the attacker's samples gains."""

    columns = (
        ColumnSpec(
            "linear_gain", "1", "low", "measured", "linear NMSE with half the attacker's samples minus with all"
        ),
    )

    def __init__(self) -> None:
        self.curves: dict[int, NoiseCurve] = {}

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure one cut."""
        self.curves[view.cut.index] = noise_curve(view)
        return {"linear_gain": learning_gain(view)}


def learning_gain(view: CutView) -> Estimate:
    """How much lower linear NMSE gets from the second half of the attacker's samples; at least 0."""
    train, test = roles(view.targets)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(view.seed))
    half = train[order[: max(3, len(train) // 2)]]
    gram = sample_gram(view)
    found = ridge_predictions(gram[half][:, half], gram[test][:, half], flat_pixels(view.targets)[half])
    found = found.clamp(0, 1) if view.targets.images else found
    with_half = nmse(found, view.targets, "half")
    with_all = nmse(reconstructions(linear_weights(view), view.targets), view.targets, "all")
    return Estimate.exact(max(0.0, with_half.value - with_all.value))
