"""What was found again of a plan, by requirement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from advisor.estimate import Estimate
from advisor.plans import Plan
from advisor.requirement import Requirement

ACCURACY = ("accuracy_drop", "accuracy")


@dataclass(frozen=True)
class Found:
    """What was found again.

    Attributes:
        plan: with what was computed and measured; None where nothing was.
        missing: group of a requirement ("cost", "accuracy", "leakage") -> why there is nothing.
        notes: attacks that failed beside others that did not, and why.
    """

    plan: Plan | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, row: Requirement) -> Estimate | None:
        """The number of a requirement; None where it, or what a function of the user's own reads, was not measured."""
        try:
            return None if self.plan is None else self.plan.found(row)
        except KeyError:
            return None

    def how(self, row: Requirement) -> str:
        """How the number of a requirement came about."""
        found = self.of(row)
        if found is None:
            return ""
        reached = None if self.plan is None or not row.leakage else self.plan.verified.get(row.quantity)
        if reached is not None and not math.isnan(reached.value):
            less = f"predicted again; the attack that was run again reached {row.show(reached.value)}"
            return "attacked again" if found is reached else less
        return f"{found.source} again" if found.source == "measured" else "recomputed"

    def why(self, row: Requirement) -> str:
        """Why the number of a requirement is missing."""
        if row.function is not None and self.plan is not None:
            return "; ".join(dict.fromkeys(self.missing.values())) or "its function reads what is not measured here"
        return self.missing.get(group(row), "")


def group(row: Requirement) -> str:
    """What a requirement is measured with."""
    return "leakage" if row.leakage else "accuracy" if row.measurement in ACCURACY else "cost"
