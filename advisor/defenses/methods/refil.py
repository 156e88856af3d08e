"""`refil`: rank, noise and the SNR loss by probes (Maeng et al., NeurIPS 2023, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from advisor.defenses.payload.space import Distribution, Float
from advisor.defenses.training.adversaries import SignalToNoise
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.terms import PrivacyTerm
from advisor.errors import AdvisorError


class Refil(BottleneckMethod):
    """Bottleneck, noise and the SNR loss."""

    name: ClassVar[str] = "refil"
    about: ClassVar[str] = "narrow payload, noise and the SNR loss (ReFIL, Maeng et al. 2023)"
    paper: ClassVar[str] = "Maeng et al., NeurIPS 2023, section 4"
    cost: ClassVar[str] = "about 2 plain steps: the edge half is differentiated twice"
    weakness: ClassVar[str] = "promises hold for unbiased attackers: one that knows pictures is biased, and better"
    settings: ClassVar[Mapping[str, Any]] = {**BottleneckMethod.settings, "weight": 0.01, "probes": 1}
    space: ClassVar[Mapping[str, Distribution]] = {**BottleneckMethod.space, "weight": Float(1e-3, 1.0, log=True)}

    def terms(self, task: FitTask) -> Sequence[PrivacyTerm]:
        """The SNR loss."""
        if not any(t.is_floating_point() for t in task.inputs):
            raise AdvisorError(
                "The inputs of this model are ids: the SNR loss has nothing to differentiate by.", "Use 'ridge'."
            )
        return (SignalToNoise(float(task.recipe["weight"]), probes=int(task.recipe["probes"])),)
