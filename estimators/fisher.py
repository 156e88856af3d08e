"""Diagonal Fisher information of the activation (Maeng et al. 2022, section 3), in forward mode."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.derivatives.tangents import TangentEnergy
from advisor.errors import NotMeasurableError
from advisor.estimate import NORMAL_90, Estimate

PRIOR_SMOOTHING = 0.1
"""Standard deviation s, in input units, of the smoothing under which the prior holds at most 1/s² an element."""


def fisher_information(tangents: TangentEnergy) -> Estimate:
    """Tr(JᵀJ)/d averaged over samples, by Hutchinson probes or exact; dFIL at noise σ is this over σ².

    The standard error over samples includes that of the probes, as each sample has its own; without probes it is that
    of the inputs alone, 0 for a linear model.
    """
    per_sample = tangents.energy.mean(0) / tangents.elements
    return Estimate.of_mean(per_sample.numpy(), "z²/x²").within(0.0)


def dfil(fisher: Estimate, noise_variance: float) -> Estimate:
    """Tr(I)/d with Gaussian noise on z: Tr(JᵀJ)/(d σ²), 1/x²; infinite without noise where anything crosses.

    `GaussianNoise.for_dfil` is its inverse: the noise that gives a wanted dFIL.

    Args:
        fisher: Tr(JᵀJ)/d.
        noise_variance: σ².
    """

    def at(value: float) -> float:
        if math.isnan(value):
            return value
        if noise_variance > 0:
            return value / noise_variance
        return math.inf if value > 0 else 0.0

    return replace(fisher.mapped(at, f"Tr(JᵀJ)/d over a noise variance of {noise_variance:g}"), unit="1/x²")


def signal_normalised(tangents: TangentEnergy) -> Estimate:
    """Tr(JᵀJ)/‖z‖² averaged over samples: what the SNR loss of ReFIL makes small (Maeng et al. 2022, section 4)."""
    alive = tangents.signal > 0
    if not bool(alive.any()):
        return Estimate(math.nan, unit="1/x²", method="the activation is zero for every sample")
    return Estimate.of_mean((tangents.energy.mean(0) / tangents.signal)[alive].numpy(), "1/x²").within(0.0)


def van_trees_bound(fisher: Estimate, noise_variance: float, prior_information: float) -> Estimate:
    """Lower bound on any attacker's mean squared error per element: 1 / (E[dFIL] + Tr(S)/d).

    Args:
        fisher: Tr(JᵀJ)/d.
        noise_variance: σ² of Gaussian noise on z; 0 gives no guarantee, so 0.
        prior_information: Tr(S)/d of the prior of x.
    """
    if noise_variance <= 0:
        return Estimate.exact(0.0, "x²")

    def bound(value: float) -> float:
        return 1 / (max(value, 0.0) / noise_variance + prior_information)

    low, high = bound(fisher.high), bound(fisher.low)
    return Estimate(bound(fisher.value), (high - low) / (2 * NORMAL_90), low, high, "x²")


def cramer_rao_bound(fisher: Estimate, noise_variance: float) -> Estimate:
    """Lower bound on an unbiased attacker's mean squared error per element: 1/dFIL (Maeng et al. 2022, section 3).

    Only for unbiased attackers: any that knows what inputs look like is biased, and may do better. Infinite where
    nothing crosses, 0 without noise.

    Args:
        fisher: Tr(JᵀJ)/d.
        noise_variance: σ² of Gaussian noise on z.
    """

    def bound(value: float) -> float:
        return math.inf if value <= 0 else noise_variance / value  # NaN stays NaN: it promises nothing

    low, high = bound(fisher.high), bound(fisher.low)
    method = "Cramér–Rao, unbiased attackers only"
    return Estimate(bound(fisher.value), (high - low) / (2 * NORMAL_90), low, high, "x²", "estimated", method)


class Fisher:
    """Columns `fisher`, `fisher_snr`, `mse_bound`."""

    needs: ClassVar[frozenset[Need]] = frozenset({"tangents"})
    columns = (
        ColumnSpec("fisher", "z²/x²", "low", "estimated", "Tr(JᵀJ)/d, Hutchinson probes in forward mode"),
        ColumnSpec("fisher_snr", "1/x²", "low", "estimated", "Tr(JᵀJ)/‖z‖², Hutchinson probes in forward mode"),
        ColumnSpec(
            "mse_bound", "x²", "high", "estimated",
            "van Trees at the wire's own rounding, modelled as Gaussian noise of variance step²/12, for inputs "
            f"smoothed by N(0, {PRIOR_SMOOTHING}²)",
        ),
    )  # fmt: skip

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Reduce the tangents that crossed this cut."""
        tangents = view.energy
        if tangents is None:
            raise NotMeasurableError("the inputs are discrete: they have no derivatives")
        if tangents.problem:
            raise NotMeasurableError(tangents.problem)
        if not torch.isfinite(tangents.signal).all():
            raise NotMeasurableError("the activation holds NaN or infinities")
        if not torch.isfinite(tangents.energy).all():
            raise NotMeasurableError("the derivatives hold NaN or infinities")
        fisher = fisher_information(tangents)
        bound = van_trees_bound(fisher, view.noise_variance, 1 / PRIOR_SMOOTHING**2)
        found = {"fisher": fisher, "fisher_snr": signal_normalised(tangents), "mse_bound": bound}
        if not tangents.note:
            return found
        return {name: replace(e, method=e.method or tangents.note) for name, e in found.items()}
