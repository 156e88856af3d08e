"""`wide`: as `ka`, by networks of another shape and twice the width: none that a defense was trained against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from advisor.attack_versions import version_of
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.ka import KnowledgeAlignment, decoded, said
from advisor.estimators.inversion.alignment import BUDGETS
from advisor.measures.decoders.wide_decoders import wide_decoders_for


@dataclass(frozen=True)
class Wide:
    """Black box, as `ka`."""

    name: ClassVar[str] = "wide"
    about: ClassVar[str] = "as ka, by wider networks of another shape (ConvNeXt blocks: Liu et al., CVPR 2022)"
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = KnowledgeAlignment.threat
    version: ClassVar[int] = version_of("wide")

    def run(self, context: AttackContext) -> Recovered:
        """Learn from what is received of the auxiliary samples, then read what was received of the private ones."""
        known = context.known.first(BUDGETS[context.effort].auxiliary or len(context.known))
        return said(decoded(context, known, context.sent, wide_decoders_for))
