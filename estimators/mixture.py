"""Conditional entropy from a Gaussian mixture of the activation (CEM: Xia et al., CVPR 2025, arXiv 2503.00383)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.errors import NotMeasurableError
from advisor.estimate import NORMAL_90, Estimate
from advisor.estimators.class_radius import class_scatter, label_words
from advisor.measures.gram_matrices import sample_gram
from advisor.measures.mixture_entropy import clusters, mixture_information


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
