"""`ridge`, ours: a narrow payload whose fit faces kernel ridge regression in closed form, always at its optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.terms import PrivacyTerm, RidgeAdversary


class Ridge(BottleneckMethod):
    """Bottleneck, noise, and −weight · min(NMSE, 1) of the closed-form adversary."""

    name: ClassVar[str] = "ridge"
    about: ClassVar[str] = "narrow payload fitted against kernel ridge inversion in closed form (ours)"
    settings: ClassVar[Mapping[str, Any]] = {**BottleneckMethod.settings, "weight": 2.0, "bank": 3}

    def terms(self, recipe: Mapping[str, Any]) -> Sequence[PrivacyTerm]:
        """The closed-form adversary."""
        return (RidgeAdversary(float(recipe["weight"]), int(recipe["bank"])),)
