"""Partition-point advisor: where to split a network between edge and cloud, and what to do to the tensor that is sent.

Names are loaded when they are first used, so that `import advisor` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from advisor.upward import PUBLIC, reach

if TYPE_CHECKING:
    from advisor.advice import Advice as Advice
    from advisor.advice import load_advice as load_advice
    from advisor.columns import Column as Column
    from advisor.columns import Profile as Profile
    from advisor.cuts import Cut as Cut
    from advisor.cuts import TensorSpec as TensorSpec
    from advisor.defenses import Defense as Defense
    from advisor.defenses.training.base import TrainedDefense as TrainedDefense
    from advisor.defenses.training.defending import defend as defend
    from advisor.defenses.training.fitted_files import load_variant as load_variant
    from advisor.defenses.training.fitted_files import save_variant as save_variant
    from advisor.errors import AdvisorError as AdvisorError
    from advisor.estimate import Estimate as Estimate
    from advisor.estimators.attacks.runner import attack as attack
    from advisor.estimators.attacks.runner import attack_cuts as attack_cuts
    from advisor.exporting import Exported as Exported
    from advisor.exporting import export as export
    from advisor.exporting import load_export as load_export
    from advisor.gate import Gate as Gate
    from advisor.graph import PartitionGraph as PartitionGraph
    from advisor.outlook import Outlook as Outlook
    from advisor.planning.api import accuracy as accuracy
    from advisor.planning.api import leakage as leakage
    from advisor.planning.api import profile as profile
    from advisor.planning.outlooks.conditions import whatif as whatif
    from advisor.planning.recommending import recommend as recommend
    from advisor.planning.release.release_gate import check as check
    from advisor.plans import Plan as Plan
    from advisor.requirement import Requirement as Requirement
    from advisor.requirements import REQUIREMENTS as REQUIREMENTS
    from advisor.requirements import Budgets as Budgets
    from advisor.tracing.tracer import trace as trace
    from advisor.variant import Variant as Variant

__version__ = "0.1.0"
__all__ = sorted(PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "runtime":  # a package of its own, for what was exported
        return import_module("advisor.runtime")
    if name not in PUBLIC:
        raise AttributeError(f"module 'advisor' has no attribute {name!r}")
    return reach(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC, "runtime"])
