"""`mid`: a variational bottleneck: the payload is drawn, and its divergence from pure noise is made small.

Alemi et al., ICLR 2017 (VIB), as a defense of split inference: Zou et al. 2023 (MID).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from advisor.defenses.payload.space import Distribution, Float
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.bottleneck_method import SCHEDULE, BottleneckMethod
from advisor.defenses.training.terms import PrivacyTerm
from advisor.defenses.training.variational_bottleneck import Divergence, variational_bottleneck


class Mid(BottleneckMethod):
    """The payload's tensors are mean and log σ; `reparam` draws from them, and sends only the result."""

    name: ClassVar[str] = "mid"
    about: ClassVar[str] = "a variational bottleneck: the payload is drawn, close to pure noise (MID, Zou et al. 2023)"
    paper: ClassVar[str] = "Alemi et al., ICLR 2017, equation 17; Zou et al. 2023"
    cost: ClassVar[str] = "a plain step"
    weakness: ClassVar[str] = "limits how much is told, not what: a decoder reads the picture in what is left"
    chain: ClassVar[str] = "reparam"
    settings: ClassVar[Mapping[str, Any]] = {
        "width": 8, "stride": 1, **{k: v for k, v in SCHEDULE.items() if k != "sigma"}, "weight": 0.1,
    }  # fmt: skip
    space: ClassVar[Mapping[str, Distribution]] = {**BottleneckMethod.space, "weight": Float(1e-3, 3.0, log=True)}

    def parts(self, task: FitTask, some: tuple[Tensor, ...]) -> tuple[nn.Module | None, nn.Module | None]:
        """An encoder with two tensors for each."""
        return variational_bottleneck(task.cut.tensors, some, task.recipe["width"], task.recipe["stride"])

    def terms(self, task: FitTask) -> Sequence[PrivacyTerm]:
        """The divergence."""
        return (Divergence(float(task.recipe["weight"])),)
