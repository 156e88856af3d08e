"""What a plan may leak: the user's budget, else the zone's thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.plans import Plan
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS, Budgets

FASTEST = REQUIREMENTS["max_latency"]
"""The usual objective."""


@dataclass(frozen=True)
class LeakageLimits:
    """What a plan may leak: the user's budget, else the zone's thresholds.

    Attributes:
        min_nmse: lowest normalised error that must be left to the strong attack; None: no such limit.
        max_ssim: highest structural similarity it may reach; None: no such limit.
        asked: whether the user stated them; a plan over a stated budget is not feasible.
        best_in: what is to be best among the plans within the limits.
        confidence: of the interval whose unfavourable end must keep every limit; None: as each row says.
        accuracy_open: whether no limit on accuracy was asked: hiding more than these limits ask is then worth none.
    """

    min_nmse: float | None
    max_ssim: float | None
    asked: bool
    best_in: Requirement = FASTEST
    confidence: float | None = None
    accuracy_open: bool = False

    @property
    def by_name(self) -> dict[str, float]:
        """The limits that are set, by requirement."""
        limits = {"min_nmse": self.min_nmse, "max_ssim": self.max_ssim}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def shortfall(self, plan: Plan) -> dict[str, float]:
        """How far a plan misses each limit, at the unfavourable end of its 90 % interval; NaN: not measured."""
        return plan.missing(self.by_name, self.confidence)


def limits_of(
    budgets: Budgets, zone: Mapping[str, float], best_in: Requirement, confidence: float | None
) -> LeakageLimits:
    """What a plan may leak: the leakage that was asked for, else what makes a cut private by itself.

    Args:
        budgets: what was asked.
        zone: the zone's thresholds, by requirement; without `max_ssim` where inputs are no images.
        best_in, confidence: as `LeakageLimits` has them.
    """
    open_ = budgets.max_accuracy_drop is None and budgets.min_accuracy is None
    if budgets.has_leakage:
        return LeakageLimits(budgets.min_nmse, budgets.max_ssim, True, best_in, confidence, open_)
    return LeakageLimits(zone.get("min_nmse"), zone.get("max_ssim"), False, best_in, confidence, open_)
