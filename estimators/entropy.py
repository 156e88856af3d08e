"""Entropies of the activation at a cut: the GPZ bound on H(x|z), and the rate that its own rounding leaves room for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.class_radius import NO_CLASS, ClassScatter, class_scatter, label_words
from advisor.estimators.statistics.spread import jackknife
from advisor.measures.gram_matrices import rounding_floor, sample_gram


def max_entropy(variance: Tensor, elements: int, step: float) -> Tensor:
    """Largest entropy, in nats, of D elements rounded to multiples of `step` with this total variance.

    H(Z_Δ) = h(Z_Δ + U) - D ln Δ with U uniform on a cell, so the variance that counts is that of z plus Δ²/12: the
    Gaussian bound (D/2) ln(2πe (v/D + Δ²/12)) - D ln Δ stays finite and positive when z does not vary at all.

    Args:
        variance: any shape; summed over the elements, in squared units of z.
        elements: D.
        step: Δ, in units of z.
    """
    per_element = variance / elements + step**2 / 12
    return elements * (0.5 * torch.log(2 * math.pi * math.e * per_element) - math.log(step))


def mixture(scatter: ClassScatter, nats: Tensor, nats_without: Tensor) -> tuple[Tensor, Tensor]:
    """H(Y) + Σ_c π_c · nats_c over the classes of two samples or more, in nats.

    Args:
        scatter: gives the classes and their sizes.
        nats: `[C]` entropy within each class.
        nats_without: `[n]` that of each sample's class when the sample is left out; read in classes of three or more.

    Returns:
        The sum, and `[n]` the sum with one sample left out; a class of two drops out with either of its samples.
    """
    counts = torch.where(scatter.counts > 1, scatter.counts, 0.0)
    n, mine = counts[scatter.member], torch.where(counts > 1, nats, 0.0)[scatter.member]
    size = counts.sum()
    inside = (counts * torch.where(counts > 1, nats, 0.0)).sum()
    sizes = torch.special.xlogy(counts, counts).sum()
    fewer = torch.where(n >= 3, n - 1, 0.0)
    inside_without = inside - n * mine + torch.where(n >= 3, fewer * nats_without, 0.0)
    sizes_without = sizes - torch.special.xlogy(n, n) + torch.special.xlogy(fewer, fewer)
    left = size - n + fewer
    return (inside - sizes) / size + size.log(), (inside_without - sizes_without) / left + left.log()


def entropy_bound(scatter: ClassScatter, elements: int, step: float) -> tuple[float, Tensor]:
    """Lower bound of H(x|z) - H(x) in nats: minus the smaller of two upper bounds on the entropy of the rounded z.

    arXiv 2506.15412: feature level (D/2) ln(2πe σ²), σ² the variance per dimension; decision level
    H(Y) + Σ_c π_c (D/2) ln(2πe R_c²/D); both with the discretisation constant κ = -D ln Δ.

    Returns:
        The bound, and `[n]` the bound with one sample left out.
    """
    feature = max_entropy(torch.tensor(scatter.total, dtype=torch.float64), elements, step)
    feature_without = max_entropy(scatter.total_without, elements, step)
    if not (scatter.counts > 1).any():
        return -float(feature), -feature_without
    decision, decision_without = mixture(
        scatter,
        max_entropy(scatter.variances, elements, step),
        max_entropy(scatter.variances_without.clamp_min(0), elements, step),
    )
    return -float(torch.minimum(feature, decision)), -torch.minimum(feature_without, decision_without)


def rate(gram: Tensor, labels: Tensor, elements: int, step: float) -> tuple[float, Tensor]:
    """R(δ) = H(Y) + Σ_c π_c Σ_i ½ ln(1 + λ_ci/δ²) in nats, δ² = step²/12.

    λ_ci are the eigenvalues of the unbiased covariance within class c, from its Gram matrix: at most min(n_c - 1, D) of
    them, so the rate of a wide tensor is that of the directions its samples span. Those below the rounding of float32
    inner products count as zero.

    Args:
        gram: `[n, n]` inner products of the centred samples.
        labels: `[n]` integers.
        elements: D.
        step: rounding step of what is sent, in units of z.

    Returns:
        The rate, and `[n]` the rate with one sample left out.

    Raises:
        NotMeasurableError: when every class has one sample.
    """
    scatter = class_scatter(gram, labels)
    if not (scatter.counts > 1).any():
        raise NotMeasurableError(NO_CLASS)
    square = float(gram.diagonal().mean())
    nats, nats_without = torch.zeros_like(scatter.counts), torch.zeros_like(scatter.own)
    for c in torch.nonzero(scatter.counts > 1).flatten():
        rows = torch.nonzero(scatter.member == c).flatten()
        nats[c], nats_without[rows] = _class_rate(gram[rows][:, rows], elements, step**2 / 12, square)
    value, without = mixture(scatter, nats, nats_without)
    return float(value), without


def _class_rate(gram: Tensor, elements: int, delta2: float, square: float) -> tuple[Tensor, Tensor]:
    """½ ln det(I + Σ/δ²) of one class, and the same with one sample left out, by the matrix determinant lemma."""
    n = gram.shape[0]
    basis = _contrasts(n)
    values, vectors = torch.linalg.eigh(basis.T @ gram @ basis)
    values[: max(0, n - 1 - elements)] = 0
    values = torch.where(values > rounding_floor(n, square), values, 0.0)
    nats = 0.5 * torch.log1p(values / ((n - 1) * delta2)).sum()
    if n == 2:
        return nats, torch.full((n,), torch.nan, dtype=torch.float64)
    ridge = (n - 2) * delta2
    share = n / (n - 1) * ((basis @ vectors).square() * (ridge / (values + ridge))).sum(1)
    return nats, 0.5 * torch.log1p(values / ridge).sum() + 0.5 * share.log()


def _contrasts(n: int) -> Tensor:
    """`[n, n - 1]` orthonormal basis of what sums to zero: columns of the Householder reflection of (1, ..., 1)/√n."""
    mirror = torch.full((n,), 1 / math.sqrt(n), dtype=torch.float64)
    mirror[0] -= 1
    reflection = torch.eye(n, dtype=torch.float64) - 2 * torch.outer(mirror, mirror) / mirror.square().sum()
    return reflection[:, 1:]


@dataclass(frozen=True)
class Entropy:
    """The conditional-entropy bound as published, and the scale-free rate at the wire's own rounding step.

    The entropy of the data is unknown, so only differences of `entropy_bound` between cuts mean something, and these
    follow D as much as the radius. `rate` is what an observer of the rounded z may learn of x, for Gaussian classes.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "entropy_bound", "nat", "high", "estimated",
            "GPZ lower bound of H(x|z) - H(x) at the wire's rounding; only differences between cuts mean something",
        ),
        ColumnSpec("rate", "nat", "low", "estimated", "H(Y) + Gaussian rate within classes at the wire's rounding"),
    )  # fmt: skip

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: when nothing but zeros crosses, which has no rounding step.
        """
        step = view.wire_step
        if not (step > 0 and math.isfinite(step)):
            raise NotMeasurableError(f"the rounding step of the activation is {step:g}: entropies need a positive one")
        gram, labels, elements = sample_gram(view), view.targets.labels, view.z.shape[1]
        bound = entropy_bound(class_scatter(gram, labels), elements, step)
        words = f"step {step:.3g}; delete-one jackknife; {label_words(view.targets)}"
        found = {"entropy_bound": jackknife(*bound, "nat", f"GPZ bound; {words}")}
        try:
            found["rate"] = jackknife(*rate(gram, labels, elements, step), "nat", f"rate; {words}", 0.0)
        except NotMeasurableError as error:
            found["rate"] = Estimate(math.nan, unit="nat", method=str(error))
        return found
