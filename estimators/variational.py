"""How little of the input stays unknown at least: H(x|z) from above, by the errors of a decoder (Barber and Agakov)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.estimate import NORMAL_90, Estimate
from advisor.estimators.linear import linear_weights
from advisor.estimators.mutual import leading_pixels
from advisor.measures.gram_matrices import roles
from advisor.sweep import ColumnSpec, CutView, Need, NotMeasurableError

_FLOOR = 1 / 255**2 / 12
"""Variance of what an 8-bit picture rounds away: below it no entropy is left to hide."""


def residual_entropy(errors: Tensor, basis: Tensor) -> tuple[float, float]:
    """Upper bound of H(x|z)/d in nats an element, and its standard error over samples.

    H(x|z) ≤ -E ln q(x|z) for any q (Barber and Agakov 2003). Here q is normal about the decoder's output, with one
    variance along each of k orthonormal directions and one for all the rest: Σ_i ½ ln(2πe v_i).

    Args:
        errors: `[m, d]` of the decoder on samples it did not learn from.
        basis: `[d, k]` orthonormal.
    """
    m, d = errors.shape
    along = errors @ basis
    rest = (errors.square().sum(1) - along.square().sum(1)).clamp_min(0)
    variances, left = along.square().mean(0).clamp_min(_FLOOR), d - basis.shape[1]
    terms = (0.5 * ((2 * math.pi * variances).log() + along.square() / variances)).sum(1)
    if left:
        remaining = (rest.mean() / left).clamp_min(_FLOOR)
        terms = terms + 0.5 * (left * torch.log(2 * math.pi * remaining) + rest / remaining)
    return float(terms.mean()) / d, float(terms.std()) / math.sqrt(m) / d if m > 1 else math.nan


@dataclass(frozen=True)
class Variational:
    """Upper bound of H(x|z) an element from linear inversion; higher is more private.

    A low value proves leakage; a high one only says that this decoder found nothing.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "decoder_entropy", "nat", "high", "estimated",
            "upper bound of H(x|z) an element of x, from the held-out errors of linear inversion",
        ),
    )  # fmt: skip

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: too few samples, or inputs that do not vary.
        """
        train, test = roles(view.targets)
        centred, basis = leading_pixels(view.targets)
        basis = basis[:, : max(1, len(test) // 2)]
        if not basis.shape[1]:
            raise NotMeasurableError("the inputs are all the same: their entropy is that of a point")
        errors = centred[test] - linear_weights(view).to(centred.dtype) @ centred[train]
        value, error = residual_entropy(errors.double(), basis.double())
        half, words = NORMAL_90 * error, f"linear ridge, {len(train)} samples to learn from, {len(test)} held out"
        return {"decoder_entropy": Estimate(value, error, value - half, value + half, "nat", "estimated", words)}
