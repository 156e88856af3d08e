"""Spectrum-aware van Trees bound and Fisher-approximated information, along the inputs' leading directions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advisor.estimate import Estimate, Source
from advisor.estimators.spread import jackknife_corrected
from advisor.sweep import ColumnSpec, CutView, NotMeasurableError
from advisor.tangent_grams import TangentGram

_TINY = 1e-300


def spectrum_bound(tangents: TangentGram, noise_variance: float, *, source: Source = "bounded") -> Estimate:
    """Lower bound on the mean squared error per element of any attacker on inputs smoothed by N(0, s²).

    Tr(M⁻¹)/d with M = E[JᵀJ]/σ² + S bounds it (Hwang, Li and Maeng 2026); smoothing gives S ≤ I/s². For orthonormal
    V of k directions and its complement W,

        Tr(M⁻¹) ≥ Tr((VᵀMV)⁻¹) + Tr((WᵀMW)⁻¹) ≥ Tr((VᵀMV)⁻¹) + (d - k)² / (Tr M - Tr VᵀMV),

    so k tangents and Tr(JᵀJ) are enough at any size of input; with k = 0 this is the bound of Maeng et al. (2023), and
    more directions never lower it. Piecewise linear networks qualify: they are absolutely continuous.

    Args:
        tangents: at one cut; taken at smoothed inputs.
        noise_variance: σ² of Gaussian noise on z; 0 guarantees nothing, so 0.
        source: "bounded" for noise that is really added; "estimated" where it is a model of rounding.

    Returns:
        In squared input units; jackknife spread over samples, freed of the bias that averaging few Jacobians brings.
        The guarantee is the interval's lower end.
    """
    if noise_variance <= 0 or tangents.smoothing <= 0:
        return Estimate.exact(0.0, "x²", source, "no noise, no guarantee")
    n = len(tangents.trace)
    value = _bound(tangents.gram.mean(0), tangents.trace.mean(), tangents, noise_variance)
    rest = [
        _bound(_without(tangents.gram, i), _without(tangents.trace, i), tangents, noise_variance) for i in range(n)
    ] if n > 1 else []  # fmt: skip
    k = len(tangents.prior)
    method = f"van Trees along {k} leading directions and the rest together; inputs smoothed by {tangents.smoothing:g}"
    return jackknife_corrected(value, torch.tensor(rest, dtype=torch.float64), "x²", method, source, floor=0.0)


def _without(values: Tensor, i: int) -> Tensor:
    return (values.sum(0) - values[i]) / (len(values) - 1)


def _bound(gram: Tensor, trace: Tensor, tangents: TangentGram, noise_variance: float) -> float:
    d, k, prior = tangents.elements, len(tangents.prior), 1 / tangents.smoothing**2
    along = gram / noise_variance + prior * torch.eye(k, dtype=torch.float64)
    # Probes may put Tr(JᵀJ) below what the directions alone hold: the rest then is the prior's.
    rest = max(float(trace - gram.diagonal().sum()) / noise_variance, 0.0) + (d - k) * prior
    first = float((1 / torch.linalg.eigvalsh(along).clamp_min(_TINY)).sum()) if k else 0.0
    return (first + ((d - k) ** 2 / rest if d > k else 0.0)) / d


def fisher_information_nats(tangents: TangentGram, noise_variance: float) -> Estimate:
    """½ ln det(I + Λ VᵀJᵀJV/σ²) averaged over samples, nats: a Gaussian surrogate of I(x; z) along k directions.

    As FSInfo (Deng et al., arXiv 2504.10016), which is -H(x|z) with the Fisher information as inverse covariance; here
    with the inputs' variances Λ along V as prior, so that it is exact for Gaussian inputs and linear models, and 0
    where nothing crosses.
    """
    if noise_variance <= 0:
        raise NotMeasurableError("without noise or rounding a derivative carries infinite information")
    root = tangents.prior.clamp_min(0).sqrt()
    inside = root[:, None] * tangents.gram * root / noise_variance
    values = torch.linalg.eigvalsh(inside + torch.eye(len(root), dtype=torch.float64))
    return Estimate.of_mean((0.5 * values.clamp_min(1.0).log().sum(1)).numpy(), "nat")


class Spectrum:
    """Columns `spectrum_bound`, `fsinfo`, at the wire's own rounding taken as Gaussian noise."""

    columns = (
        ColumnSpec(
            "spectrum_bound", "x²", "high", "estimated",
            "spectrum-aware van Trees along the inputs' leading directions, at the wire's own rounding modelled as "
            "Gaussian noise of variance step²/12, for smoothed inputs",
        ),
        ColumnSpec(
            "fsinfo", "nat", "low", "estimated",
            "½ ln det(I + Λ VᵀJᵀJV/σ²) along the inputs' leading directions, at the wire's own rounding",
        ),
    )  # fmt: skip

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Reduce the tangents that crossed this cut.

        Raises:
            NotMeasurableError: no derivatives, or nothing but zeros crosses.
        """
        tangents, variance = usable(view.gram_of_tangents), view.wire_step**2 / 12
        if not (variance > 0 and math.isfinite(variance)):
            raise NotMeasurableError(f"the rounding step of what crosses is {view.wire_step:g}: it must be positive")
        return {
            "spectrum_bound": spectrum_bound(tangents, variance, source="estimated"),
            "fsinfo": fisher_information_nats(tangents, variance),
        }


def usable(tangents: TangentGram | None) -> TangentGram:
    """The tangents, unless they say nothing.

    Raises:
        NotMeasurableError: with the reason.
    """
    if tangents is None:
        raise NotMeasurableError("the inputs are discrete: they have no derivatives")
    if tangents.problem:
        raise NotMeasurableError(tangents.problem)
    if not (torch.isfinite(tangents.gram).all() and torch.isfinite(tangents.trace).all()):
        raise NotMeasurableError("the derivatives hold NaN or infinities")
    return tangents
