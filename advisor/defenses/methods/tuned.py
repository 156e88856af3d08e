"""`tuned`: the cloud half learns to live with noise, no bottleneck; `tuned-bare`: tuned equally long, without noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from advisor.defenses.training.bottleneck_method import SCHEDULE, BottleneckMethod
from advisor.variant_parts import Change


class NoiseAware(BottleneckMethod):
    """Noise-aware tuning of the cloud half, on cached activations."""

    name: ClassVar[str] = "tuned"
    about: ClassVar[str] = "the cloud half tuned under noise, nothing else changed (Maeng et al. 2023, frozen variant)"
    settings: ClassVar[Mapping[str, Any]] = {**SCHEDULE, "tuned": "cloud", "rate": 1e-3, "tuned_rate": 1.0}
    changes: ClassVar[tuple[Change, ...]] = ("cloud weights",)
    narrow: ClassVar[bool] = False


class TunedBare(NoiseAware):
    """A reference: what as much tuning does without bottleneck and noise."""

    name: ClassVar[str] = "tuned-bare"
    about: ClassVar[str] = "reference: tuned equally long, neither bottleneck nor noise"
    settings: ClassVar[Mapping[str, Any]] = {**NoiseAware.settings, "sigma": (0.0, 0.0), "tuned": "all"}
    changes: ClassVar[tuple[Change, ...]] = ("cloud weights", "edge weights")
