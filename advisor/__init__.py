"""Partition-point advisor: where to split a network between edge and cloud, and what to do to the tensor that is sent.

Names are loaded when they are first used, so that `import advisor` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.columns import Column as Column
    from advisor.columns import Profile as Profile
    from advisor.cuts import Cut as Cut
    from advisor.cuts import TensorSpec as TensorSpec
    from advisor.defenses import Defense as Defense
    from advisor.errors import AdvisorError as AdvisorError
    from advisor.estimate import Estimate as Estimate
    from advisor.estimators.attacks.runner import attack as attack
    from advisor.estimators.attacks.runner import attack_cuts as attack_cuts
    from advisor.exporting import Exported as Exported
    from advisor.exporting import export as export
    from advisor.exporting import load_export as load_export
    from advisor.graph import PartitionGraph as PartitionGraph
    from advisor.planning.api import leakage as leakage
    from advisor.planning.api import profile as profile
    from advisor.planning.recommending import recommend as recommend
    from advisor.plans import Advice as Advice
    from advisor.plans import Plan as Plan
    from advisor.plans import load_advice as load_advice
    from advisor.requirements import REQUIREMENTS as REQUIREMENTS
    from advisor.requirements import Budgets as Budgets
    from advisor.requirements import Requirement as Requirement
    from advisor.tracing.tracer import trace as trace

__version__ = "0.1.0"

_HOMES = {
    "Advice": "advisor.plans",
    "AdvisorError": "advisor.errors",
    "Budgets": "advisor.requirements",
    "Column": "advisor.columns",
    "Cut": "advisor.cuts",
    "Defense": "advisor.defenses",
    "Estimate": "advisor.estimate",
    "Exported": "advisor.exporting",
    "PartitionGraph": "advisor.graph",
    "Plan": "advisor.plans",
    "Profile": "advisor.columns",
    "REQUIREMENTS": "advisor.requirements",
    "Requirement": "advisor.requirements",
    "TensorSpec": "advisor.cuts",
    "attack": "advisor.estimators.attacks.runner",
    "attack_cuts": "advisor.estimators.attacks.runner",
    "export": "advisor.exporting",
    "leakage": "advisor.planning.api",
    "load_advice": "advisor.plans",
    "load_export": "advisor.exporting",
    "profile": "advisor.planning.api",
    "recommend": "advisor.planning.recommending",
    "trace": "advisor.tracing.tracer",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'advisor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
