"""`adversarial`: a decoder that learns beside the defense, hinged at the mean's error (Li et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from advisor.defenses.payload.space import Distribution, Float
from advisor.defenses.training.adversaries import HingedDecoder
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.terms import PrivacyTerm


class Adversarial(BottleneckMethod):
    """Bottleneck, noise and an adversarial decoder."""

    name: ClassVar[str] = "adversarial"
    about: ClassVar[str] = (
        "narrow payload, noise and an adversarial decoder with a hinge (core of ResSFL, Li et al. 2022)"
    )
    paper: ClassVar[str] = "Li et al., CVPR 2022, section 3"
    cost: ClassVar[str] = "1.5 to 3 plain steps: three steps of the decoder a step"
    weakness: ClassVar[str] = "a fresh decoder of another shape; features that its own decoder never learnt to read"
    settings: ClassVar[Mapping[str, Any]] = {**BottleneckMethod.settings, "weight": 2.0}
    space: ClassVar[Mapping[str, Distribution]] = {**BottleneckMethod.space, "weight": Float(0.5, 8.0, log=True)}

    def terms(self, task: FitTask) -> Sequence[PrivacyTerm]:
        """An adversarial decoder."""
        return (HingedDecoder(float(task.recipe["weight"])),)
