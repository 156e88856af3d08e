"""Conditional entropy from a Gaussian mixture of the activation (CEM: Xia et al., CVPR 2025, arXiv 2503.00383)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.estimate import NORMAL_90, Estimate
from advisor.estimators.class_radius import class_scatter, label_words
from advisor.measures.gram_matrices import sample_gram, squared_distances
from advisor.sweep import ColumnSpec, CutView, Need, NotMeasurableError

CENTRES = 5
ROUNDS = 20
SMALLEST = 4
"""Samples a component needs: fewer say little about its variance."""


def mixture_information(weights: Tensor, variances: Tensor, elements: int, noise_variance: float) -> Tensor:
    """Σ_j w_j (-ln w_j + (D/2) ln(1 + v_j/σ²)) in nats: I(x; z + noise) is at most this.

    The noiseless z is taken as a mixture of components of weight w_j and covariance Σ_j; by concavity ½ ln det(I +
    Σ_j/σ²) is at most (D/2) ln(1 + v_j/σ²), v_j = Tr Σ_j / D, with equality for isotropic components. Unlike the
    determinant the trace has an unbiased estimate from fewer samples than dimensions.

    Args:
        weights: `[k]`, positive, summing to 1.
        variances: `[k]`, v_j per element.
        elements: D.
        noise_variance: σ² of the noise on z.
    """
    return (weights * (-weights.log() + 0.5 * elements * torch.log1p(variances / noise_variance))).sum()


def clusters(gram: Tensor, labels: Tensor, seed: int) -> Tensor:
    """`[n]` component of each sample: k-means within each class, from inner products alone.

    Each class gets at most `CENTRES` components, and fewer where one would hold less than `SMALLEST` samples on
    average; starts are drawn far apart (k-means++, Arthur and Vassilvitskii 2007).
    """
    member, start = torch.zeros_like(labels), 0
    generator = torch.Generator().manual_seed(seed)
    for label in torch.unique(labels):
        rows = torch.nonzero(labels == label).flatten()
        count = max(1, min(CENTRES, len(rows) // SMALLEST))
        member[rows] = start + _kmeans(gram[rows][:, rows], count, generator)
        start += count
    found: Tensor = torch.unique(member, return_inverse=True)[1]
    return found


def _kmeans(gram: Tensor, count: int, generator: torch.Generator) -> Tensor:
    apart = squared_distances(gram)
    centres = [int(torch.randint(len(gram), (1,), generator=generator))]
    while len(centres) < count:
        nearest = apart[:, centres].min(1).values
        if float(nearest.sum()) <= 0:
            break
        centres.append(int(torch.multinomial(nearest, 1, generator=generator)))
    member = apart[:, centres].argmin(1)
    for _ in range(ROUNDS):
        share = torch.nn.functional.one_hot(member, len(centres)).double()
        share = share / share.sum(0).clamp_min(1)
        # ‖z - m_j‖² up to ‖z‖²; an empty component stays empty.
        far = (share * (gram @ share)).sum(0) - 2 * gram @ share
        far[:, share.sum(0) == 0] = math.inf
        moved = far.argmin(1)
        if torch.equal(moved, member):
            break
        member = moved
    return member


@dataclass(frozen=True)
class Mixture:
    """Lower bound of H(x|z) - H(x) from a mixture of a few components a class; higher is more private.

    Like `entropy_bound`, with several centres a class instead of one and with the noise as a floor of the variance
    rather than the entropy of the rounded z; it follows D and the scale of z, so only differences between cuts of one
    model mean something. An attacker's error per element is at least exp(2 H(x|z)/d)/(2πe).
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "mixture_bound", "nat", "high", "estimated",
            "CEM lower bound of H(x|z) - H(x), Gaussian mixture within classes, at the wire's rounding as noise",
        ),
    )  # fmt: skip

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: when no component has two samples, or nothing but zeros crosses.
        """
        variance = view.wire_step**2 / 12
        if not (variance > 0 and math.isfinite(variance)):
            raise NotMeasurableError(f"the rounding step of the activation is {view.wire_step:g}: it must be positive")
        gram, elements = sample_gram(view), view.z.shape[1]
        scatter = class_scatter(gram, clusters(gram, view.targets.labels, view.seed))
        counted = scatter.counts > 1
        if not counted.any():
            raise NotMeasurableError("no component of the mixture has two samples: give more samples")
        weights = scatter.counts[counted] / scatter.counts[counted].sum()
        nats = mixture_information(weights, scatter.variances[counted] / elements, elements, variance)
        words = f"{int(counted.sum())} components within classes, noise of rounding; {label_words(view.targets)}"
        error = self._error(scatter.own, scatter.member, scatter.variances, elements, variance)
        value = -float(nats)
        half = NORMAL_90 * error
        return {"mixture_bound": Estimate(value, error, value - half, value + half, "nat", "estimated", words)}

    @staticmethod
    def _error(own: Tensor, member: Tensor, variances: Tensor, elements: int, noise: float) -> float:
        """Delta method over samples: each adds ½ own_i/(v_j + σ²) to its component's part, about its mean."""
        floor = variances.nan_to_num(0.0)[member] / elements + noise
        return float((0.5 * own / floor).std() / math.sqrt(len(own))) if len(own) > 1 else math.nan
