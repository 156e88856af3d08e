"""`infoscissors`: CLUB with learned variance on the input side (Duan et al., NeurIPS 2024, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from advisor.defenses.training.adversaries import Club
from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.terms import PrivacyTerm


class InfoScissors(BottleneckMethod):
    """Bottleneck, noise and the CLUB bound of the input."""

    name: ClassVar[str] = "infoscissors"
    about: ClassVar[str] = "narrow payload, noise and CLUB with learned variance (InfoScissors, Duan et al. 2024)"
    settings: ClassVar[Mapping[str, Any]] = {**BottleneckMethod.settings, "weight": 1.0}

    def terms(self, recipe: Mapping[str, Any]) -> Sequence[PrivacyTerm]:
        """The CLUB bound of the input."""
        return (Club(float(recipe["weight"])),)
