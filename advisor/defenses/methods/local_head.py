"""`local-head`, a reference: the edge half with a small head that answers alone; what a split has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from advisor.cuts import TensorSpec
from advisor.defenses.payload.space import Distribution, Int
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.bottleneck_method import SCHEDULE, BottleneckMethod
from advisor.defenses.training.heads import Same, head
from advisor.errors import AdvisorError
from advisor.variant_parts import Change


class LocalHead(BottleneckMethod):
    """The edge half up to the cut and a head of its own, distilled from the whole model.

    Its variant's payload is the model's answer: at `variant.payload` the edge sends its scores; at the last cut nothing
    is sent, and the edge answers alone. `variant.answers` is true.
    """

    name: ClassVar[str] = "local-head"
    about: ClassVar[str] = (
        "reference: the edge half with a small distilled head, that answers alone or sends its scores"
    )
    paper: ClassVar[str] = "distillation: Hinton et al. 2015; the reference is ours"
    cost: ClassVar[str] = "a plain step of the edge half"
    weakness: ClassVar[str] = "its scores tell what scores tell; where it answers alone nothing is sent"
    chain: ClassVar[str] = "none"
    settings: ClassVar[Mapping[str, Any]] = {
        "width": 64, **{k: v for k, v in SCHEDULE.items() if k != "sigma"},
    }  # fmt: skip
    space: ClassVar[Mapping[str, Distribution]] = {"width": Int(16, 128, log=True)}
    changes: ClassVar[tuple[Change, ...]] = ("edge weights", "app")
    answers: ClassVar[bool] = True

    def parts(self, task: FitTask, some: tuple[Tensor, ...]) -> tuple[nn.Module | None, nn.Module | None]:
        """A head in the place of the encoder."""
        if task.tail is not None:
            raise AdvisorError("A local head answers on the edge: it has no tail.", "Leave tail= out.")
        wanted = [task.graph.spec(node) for node in task.graph.returned]
        outputs = [spec for spec in wanted if isinstance(spec, TensorSpec) and spec.is_floating]
        if len(outputs) < len(wanted):
            raise AdvisorError(
                "A head can be taught floating-point outputs alone, and this model returns others.",
                "Return scores instead of what is made of them.",
            )
        return head(task.cut.tensors, some, outputs, int(task.recipe["width"])), Same()
