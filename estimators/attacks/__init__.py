"""The attacks: one a file, all listed here. One more is one more file and one more line."""

from __future__ import annotations

from advisor.estimators.attacks.base import Attack, AttackContext, Auxiliary, Recovered, ThreatModel
from advisor.estimators.attacks.dci import DividedInversion
from advisor.estimators.attacks.dip import DeepImagePrior
from advisor.estimators.attacks.ids import IdRecovery
from advisor.estimators.attacks.ka import KnowledgeAlignment
from advisor.estimators.attacks.mlp import Head
from advisor.estimators.attacks.pmc import ModelCompletion
from advisor.estimators.attacks.rmle import RegularisedMaximumLikelihood
from advisor.estimators.attacks.shadow import Shadow
from advisor.estimators.attacks.unbiased import Unbiased

_MEMBERS: tuple[Attack, ...] = (
    KnowledgeAlignment(),
    RegularisedMaximumLikelihood(),
    DeepImagePrior(),
    Unbiased(),
    DividedInversion(),
    Shadow(),
    ModelCompletion(),
    Head("mlp", (512, 256)),
    Head("mlp-sim", ()),
    IdRecovery(),
)

ATTACKS: dict[str, Attack] = {member.name: member for member in _MEMBERS}
"""By name, in the order of the report."""

__all__ = ["ATTACKS", "Attack", "AttackContext", "Auxiliary", "Recovered", "ThreatModel"]
