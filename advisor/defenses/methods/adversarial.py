"""`adversarial`: a decoder that learns beside the defense, hinged at the mean's error (Li et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from advisor.defenses.training.adversaries import HingedDecoder
from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.terms import PrivacyTerm


class Adversarial(BottleneckMethod):
    """Bottleneck, noise and an adversarial decoder."""

    name: ClassVar[str] = "adversarial"
    about: ClassVar[str] = (
        "narrow payload, noise and an adversarial decoder with a hinge (core of ResSFL, Li et al. 2022)"
    )
    settings: ClassVar[Mapping[str, Any]] = {**BottleneckMethod.settings, "weight": 2.0}

    def terms(self, recipe: Mapping[str, Any]) -> Sequence[PrivacyTerm]:
        """An adversarial decoder."""
        return (HingedDecoder(float(recipe["weight"])),)
