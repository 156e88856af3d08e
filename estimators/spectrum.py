"""Spectrum-aware van Trees bound and Fisher-approximated information, along the inputs' leading directions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.derivatives.jacobian_grams import JacobianGram
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate, Source
from advisor.estimators.statistics.confidence_limits import upper_limit
from advisor.estimators.statistics.spread import jackknife_corrected

NOT_FINITE = "the derivatives hold NaN or infinities"


def spectrum_bound(tangents: JacobianGram, noise_variance: float, *, source: Source = "bounded") -> Estimate:
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
        The guarantee is the interval's lower end: see `guaranteed`.
    """
    if not (noise_variance > 0 and tangents.smoothing > 0):
        return Estimate.exact(0.0, "x²", source, "no noise, no guarantee")
    if not (tangents.gram.isfinite().all() and tangents.trace.isfinite().all()):
        return Estimate(math.nan, unit="x²", source=source, method=NOT_FINITE)
    n = len(tangents.trace)
    value = _bound(tangents.gram.mean(0), tangents.trace.mean(), tangents, noise_variance)
    rest = [
        _bound(_without(tangents.gram, i), _without(tangents.trace, i), tangents, noise_variance) for i in range(n)
    ] if n > 1 else []  # fmt: skip
    k = len(tangents.prior)
    method = f"van Trees along {k} leading directions and the rest together; inputs smoothed by {tangents.smoothing:g}"
    found = jackknife_corrected(value, torch.tensor(rest, dtype=torch.float64), "x²", method, source, floor=0.0)
    return found if n < 2 else replace(found, low=float(np.minimum(found.value, guaranteed(tangents, noise_variance))))


def guaranteed(tangents: JacobianGram, noise_variance: float) -> float:
    """Lower end of `spectrum_bound` with a confidence of 95 %, from two samples or more.

    The bound b is Tr(M⁻¹)/d of a mean M, and 1/b is concave in it and of degree one. So for any M₀

        1/b(M) ≤ ⟨∇(1/b)(M₀), M⟩ = d·Tr(M₀⁻² M) / Tr(M₀⁻¹)²,

    the mean of one number a sample, whose upper limit is this one's inverse. M₀ is the mean of all other samples, so
    that a sample has no part in how it is weighed. The rest of the directions is one eigenvalue, d - k times.
    """
    d, k, prior = tangents.elements, len(tangents.prior), 1 / tangents.smoothing**2
    outside = ((tangents.trace - _traces(tangents.gram)) / noise_variance).clamp_min(0)
    values, vectors = torch.linalg.eigh(_others(tangents.gram))
    least = _least(values)
    inverse = (vectors / (torch.maximum(values, least) / noise_variance + prior).unsqueeze(-2)) @ vectors.mT
    rest = _others(outside) / max(1, d - k) + prior
    size = _traces(inverse) + (d - k) / rest
    weight = inverse @ inverse
    inside = (weight * tangents.gram).sum((1, 2)) + least.squeeze(-1) * _traces(weight)
    seen = inside / noise_variance + outside / rest.square()
    known = prior * (_traces(weight) + (d - k) / rest.square())
    limit = upper_limit(d * seen / size.square()) + float((d * known / size.square()).mean())
    return 1 / limit


def _traces(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


def _others(values: Tensor) -> Tensor:
    """For each sample the mean of all but it."""
    return (values.sum(0) - values) / (len(values) - 1)


def _without(values: Tensor, i: int) -> Tensor:
    return (values.sum(0) - values[i]) / (len(values) - 1)


def _least(values: Tensor) -> Tensor:
    """`[..., 1]` of eigenvalues `[..., k]`: what rounding leaves of the smallest; no bound rests on less."""
    return torch.finfo(values.dtype).eps * values.abs().sum(-1, keepdim=True)


def _bound(gram: Tensor, trace: Tensor, tangents: JacobianGram, noise_variance: float) -> float:
    d, k, prior = tangents.elements, len(tangents.prior), 1 / tangents.smoothing**2
    values = torch.linalg.eigvalsh(gram)
    along = torch.maximum(values, _least(values)) / noise_variance + prior
    # Probes may put Tr(JᵀJ) below what the directions alone hold: the rest then is the prior's.
    rest = max(float(trace - gram.diagonal().sum()) / noise_variance, 0.0) + (d - k) * prior
    first = float((1 / along).sum())
    return (first + ((d - k) ** 2 / rest if d > k else 0.0)) / d


def fisher_information_nats(tangents: JacobianGram, noise_variance: float) -> Estimate:
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
    return Estimate.of_mean((0.5 * values.clamp_min(1.0).log().sum(1)).numpy(), "nat").within(0.0)


class Spectrum:
    """Columns `spectrum_bound`, `fsinfo`, at the wire's own rounding taken as Gaussian noise."""

    needs: ClassVar[frozenset[Need]] = frozenset({"jacobian gram"})
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
        tangents, variance = usable(view.jacobian_gram), view.noise_variance
        if not (variance > 0 and math.isfinite(variance)):
            raise NotMeasurableError(f"the rounding step of the activation is {view.wire_step:g}: it must be positive")
        return {
            "spectrum_bound": spectrum_bound(tangents, variance, source="estimated"),
            "fsinfo": fisher_information_nats(tangents, variance),
        }


def usable(tangents: JacobianGram | None) -> JacobianGram:
    """The tangents, unless they say nothing.

    Raises:
        NotMeasurableError: with the reason.
    """
    if tangents is None:
        raise NotMeasurableError(
            "some inputs are discrete: ids have no squared error to bound, nor a variance; `fisher` is with respect to "
            "their embeddings"
        )
    if tangents.problem:
        raise NotMeasurableError(tangents.problem)
    if not (torch.isfinite(tangents.gram).all() and torch.isfinite(tangents.trace).all()):
        raise NotMeasurableError(NOT_FINITE)
    return tangents
