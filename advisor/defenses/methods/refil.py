"""`refil`: rank, noise and the SNR loss by probes (Maeng et al., NeurIPS 2023, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from advisor.defenses.training.adversaries import SignalToNoise
from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.terms import PrivacyTerm


class Refil(BottleneckMethod):
    """Bottleneck, noise and the SNR loss."""

    name: ClassVar[str] = "refil"
    about: ClassVar[str] = "narrow payload, noise and the SNR loss (ReFIL, Maeng et al. 2023)"
    settings: ClassVar[Mapping[str, Any]] = {**BottleneckMethod.settings, "weight": 0.01, "probes": 1}

    def terms(self, recipe: Mapping[str, Any]) -> Sequence[PrivacyTerm]:
        """The SNR loss."""
        return (SignalToNoise(float(recipe["weight"]), probes=int(recipe["probes"])),)
