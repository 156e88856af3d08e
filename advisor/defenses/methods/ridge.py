"""`ridge`, ours: a narrow payload whose fit faces ridge regressions in closed form, always at their optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from advisor.defenses.payload.space import Distribution, Float
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.ridge_adversary import RidgeAdversary
from advisor.defenses.training.terms import PrivacyTerm


class Ridge(BottleneckMethod):
    """Bottleneck, noise, and −weight · min(NMSE, 1) of the closed-form adversaries."""

    name: ClassVar[str] = "ridge"
    about: ClassVar[str] = "narrow payload fitted against ridge inversion in closed form (ours)"
    paper: ClassVar[str] = "ours; leave-one-out in closed form: Allen 1974"
    cost: ClassVar[str] = "about 1.2 plain steps"
    weakness: ClassVar[str] = "what a deep decoder of many samples sees and small opponents do not"
    settings: ClassVar[Mapping[str, Any]] = {
        **BottleneckMethod.settings, "sigma": (0.1, 0.5), "weight": 1.5, "bank": 3, "local": 0.75, "filters": 64,
        "scales": (0.5, 1.0, 2.0), "directions": 0, "features": 64,
    }  # fmt: skip
    space: ClassVar[Mapping[str, Distribution]] = {**BottleneckMethod.space, "weight": Float(0.3, 6.0, log=True)}

    def terms(self, task: FitTask) -> Sequence[PrivacyTerm]:
        """The closed-form adversaries."""
        r = task.recipe
        scales = tuple(float(scale) for scale in r["scales"])
        return (
            RidgeAdversary(
                float(r["weight"]),
                int(r["bank"]),
                float(r["local"]),
                int(r["filters"]),
                scales,
                int(r["directions"]),
                int(r["features"]),
            ),
        )
