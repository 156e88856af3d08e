"""`tuned`: the cloud half learns to live with noise, no bottleneck; `tuned-bare`: tuned equally long, without noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from advisor.defenses.payload.space import Distribution
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.bottleneck_method import SCHEDULE, BottleneckMethod
from advisor.variant_parts import Change


class NoiseAware(BottleneckMethod):
    """Noise-aware tuning of the cloud half, on cached activations."""

    name: ClassVar[str] = "tuned"
    about: ClassVar[str] = "the cloud half tuned under noise, nothing else changed (Maeng et al. 2023, frozen variant)"
    paper: ClassVar[str] = "Maeng et al., NeurIPS 2023, table 1, frozen edge half"
    cost: ClassVar[str] = "a plain step of the cloud half, on activations that are computed once: the cheapest"
    weakness: ClassVar[str] = "as noise: repeats average it, and a decoder that knows pictures sees through it"
    settings: ClassVar[Mapping[str, Any]] = {**SCHEDULE, "tuned": "cloud", "rate": 1e-3, "tuned_rate": 1.0}
    space: ClassVar[Mapping[str, Distribution]] = {}
    changes: ClassVar[tuple[Change, ...]] = ("cloud weights",)

    def parts(self, task: FitTask, some: tuple[Tensor, ...]) -> tuple[nn.Module | None, nn.Module | None]:
        """None: the activation itself is sent."""
        return None, None


class TunedBare(NoiseAware):
    """A reference: what as much tuning does without bottleneck and noise."""

    name: ClassVar[str] = "tuned-bare"
    about: ClassVar[str] = "reference: tuned equally long, neither bottleneck nor noise"
    paper: ClassVar[str] = "a reference of ours"
    cost: ClassVar[str] = "a plain step"
    weakness: ClassVar[str] = "hides nothing"
    chain: ClassVar[str] = "none"
    settings: ClassVar[Mapping[str, Any]] = {**NoiseAware.settings, "sigma": (0.0, 0.0), "tuned": "all"}
    changes: ClassVar[tuple[Change, ...]] = ("edge weights", "cloud weights")
