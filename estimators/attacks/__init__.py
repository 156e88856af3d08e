"""The attacks: one a file, all listed here. One more is one more file and one more line."""

from __future__ import annotations

from advisor.estimators.attacks.alignment import Alignment
from advisor.estimators.attacks.base import Attack, Known, Recovered, Scene, ThreatModel
from advisor.estimators.attacks.completion import Completion
from advisor.estimators.attacks.divided import DividedInversion
from advisor.estimators.attacks.heads import Head
from advisor.estimators.attacks.identity import Identity
from advisor.estimators.attacks.image_prior import DeepImagePrior
from advisor.estimators.attacks.matched_features import MatchedFeatures
from advisor.estimators.attacks.shadow import Shadow
from advisor.estimators.attacks.unbiased import Unbiased

_MEMBERS: tuple[Attack, ...] = (
    Alignment(),
    MatchedFeatures(),
    DeepImagePrior(),
    Unbiased(),
    DividedInversion(),
    Shadow(),
    Completion(),
    Head("mlp", (512, 256)),
    Head("mlp-sim", ()),
    Identity(),
)

ATTACKS: dict[str, Attack] = {member.name: member for member in _MEMBERS}
"""By name, in the order of the report."""

__all__ = ["ATTACKS", "Attack", "Known", "Recovered", "Scene", "ThreatModel"]
