"""Which attacks a plan must face: the one that verifies every plan, and those that break what hides this one."""

from __future__ import annotations

from typing import Literal

from advisor.defenses.methods import METHODS
from advisor.estimators.attacks import ATTACKS, verifying
from advisor.plans import Plan


def faced(plan: Plan, secret: Literal["input", "ids"]) -> tuple[str, ...]:
    """Names of attacks, the one that verifies first; those after another secret, or that are not known, are left out.

    Args:
        plan: its defense, and the method that its graph was fitted by, say what breaks them.
        secret: what is hidden, the input or the ids that it is made of.
    """
    broken_by = list(plan.defense.broken_by)
    if plan.fitted is not None and plan.fitted.method in METHODS:
        broken_by += METHODS[plan.fitted.method].broken_by
    others = [name for name in broken_by if name in ATTACKS and ATTACKS[name].threat.recovers == secret]
    return tuple(dict.fromkeys([verifying(secret)[0].name, *others]))
