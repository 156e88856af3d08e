"""PrivacyTerm: what a fit adds to its loss so that the payload tells less; what a term is shown of each step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from advisor.errors import AdvisorError


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a fit, as the privacy terms see it.

    Attributes:
        inputs: what is to be hidden, `[n, ...]`: the batch's first floating input; where all are ids, the undefended
            model's activation at the cut; None where that does not fit into memory.
        payload: floating tensors that the encoder gave, each `[n, ...]`.
        sent: the same with the noise of the fit, or what was drawn from them.
        outputs: the model's floating outputs, each `[n, ...]`.
        returned: what the cloud sends back to the edge's tail, each `[n, ...]`; empty where there is no tail.
        answers: the undefended model's floating outputs, each `[n, ...]`.
    """

    inputs: Tensor | None
    payload: tuple[Tensor, ...]
    sent: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    returned: tuple[Tensor, ...] = ()
    answers: tuple[Tensor, ...] = ()

    @property
    def hidden(self) -> Tensor:
        """What is to be hidden.

        Raises:
            AdvisorError: where nothing of floating-point numbers is at hand.
        """
        if self.inputs is None:
            raise AdvisorError("The inputs of this model are ids, and its activation there is too large to keep.",
                               "Fit on fewer samples, or at a narrower cut.")  # fmt: skip
        return self.inputs


class PrivacyTerm(ABC):
    """Something to be made small beside the task's loss."""

    against: ClassVar[tuple[str, ...]] = ()
    """Estimators that the fit is trained against: for its variants they measure nothing any more."""
    through_input: ClassVar[bool] = False
    """Whether it differentiates through the input: the edge half is then run anew for each batch."""

    @property
    def opponent(self) -> nn.Module | None:
        """A network that makes this term large while the defense makes it small; it learns through the whole fit."""
        return None

    def meet(self, step: Step) -> None:  # noqa: B027
        """See a few samples before the fit: an opponent takes its shapes from them."""

    def begin(self, epoch: int) -> None:  # noqa: B027
        """A new epoch: of the last one the opponent alone counts, so that a killed fit ends in the same bits."""

    @abstractmethod
    def loss(self, step: Step) -> Tensor:
        """A scalar, differentiable in what is sent; weighted already."""
