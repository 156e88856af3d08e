"""A model while its defense is fitted: edge half, encoder, noise, decoder, cloud half and, U-shaped, the tail."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from advisor.defenses.payload.reparam import Reparam
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.encoders import Passing
from advisor.defenses.training.fit_samples import FitSamples
from advisor.defenses.training.terms import Step
from advisor.errors import AdvisorError
from advisor.operations.grouping import Grouped
from advisor.variant_parts import VariantParts

Half = Literal["edge", "cloud"]


class DefendedModel(nn.Module):
    """The parts that may change are trained in place; the user's model stays as it is.

    Args:
        task: graph, cut, and tail.
        encoder, decoder: None where there is no bottleneck.
        tuned: halves whose weights may change; the tail is the cloud half's while it is fitted.
        draws: whether the encoder gives mean and log σ, from which the payload is drawn; else noise is added.
        answers: whether the encoder gives the model's outputs, and no cloud half runs.
    """

    def __init__(
        self, task: FitTask, encoder: nn.Module | None, decoder: nn.Module | None, tuned: tuple[Half, ...] = (),
        draws: bool = False, answers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        graph, cut, last = task.graph, task.cut.index, len(task.graph.cuts) - 1
        stop = last if task.tail is None else task.tail.index
        trained = {half: half in tuned for half in ("edge", "cloud")}
        self.edge = _own_copy(graph.piece(cut, 0), trained["edge"]) if cut else Passing()
        self.cloud = Passing() if answers else _own_copy(graph.piece(stop, cut), trained["cloud"])
        self.tail = _own_copy(graph.piece(last, stop), trained["cloud"]) if stop < last and not answers else None
        self.encoder, self.decoder = encoder, decoder
        self.draws, self.fixed_edge = draws, not (trained["edge"] and cut)
        self.layout = torch.contiguous_format

    # ---- layout ----------------------------------------------------------------------------------------------------

    def store_channels_last(self, batch: FitSamples) -> None:
        """Store maps channels last while this is fitted, where every operation takes them so.

        Convolutions of thin maps then take a third less time on processors. A model that looks at its maps by `view`
        refuses them, and stays as it is.

        Args:
            batch: a few samples, to try it on.
        """
        moving = [p for p in self.parameters() if p.requires_grad]
        if not moving or {p.dim() for p in self.parameters()} & {4, 5} != {4}:
            return
        self._lay_out(torch.channels_last)
        try:
            step = self(batch, 1.0, torch.Generator().manual_seed(0))
            torch.autograd.grad(sum(t.sum() for t in step.outputs), moving, allow_unused=True)
        except RuntimeError:
            self.store_plainly()

    def store_plainly(self) -> None:
        """Store maps as PyTorch does by default."""
        self._lay_out(torch.contiguous_format)

    def _lay_out(self, layout: torch.memory_format) -> None:
        self.layout = layout
        if any(p.dim() == 4 for p in self.parameters()):
            self.to(memory_format=layout)

    def _laid_out(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(t.contiguous(memory_format=self.layout) if t.dim() == 4 else t for t in tensors)

    # ---- forward ---------------------------------------------------------------------------------------------------

    def forward(self, batch: FitSamples, sigma: float, draw: torch.Generator, through_input: bool = False) -> Step:
        """One batch with noise of `sigma` times the payload's root mean square.

        Args:
            batch: of samples.
            sigma: standard deviation, in units of the payload's root mean square.
            draw: of the noise.
            through_input: the inputs require grad, and the edge half runs anew.
        """
        inputs = self._laid_out(batch.inputs)
        if through_input:
            inputs = tuple(t.clone().requires_grad_() if t.is_floating_point() else t for t in inputs)
        kept = None if batch.cached is None else self._laid_out(batch.cached)
        activation = tensors(self.edge(*inputs)) if kept is None else kept
        payload = activation if self.encoder is None else tensors(self.encoder(*activation))
        sent, received = self._sent(payload, sigma, draw)
        restored = received if self.decoder is None else tensors(self.decoder(*received))
        back = tensors(self.cloud(*restored))
        outputs = back if self.tail is None else tensors(self.tail(*back))
        hidden = next((t for t in inputs if t.is_floating_point()), batch.hidden)
        returned = () if self.tail is None else floats(back)
        return Step(
            hidden, floats(payload), floats(sent), tuple(t.float() for t in floats(outputs)), returned, batch.answers
        )

    def _sent(
        self, payload: tuple[Tensor, ...], sigma: float, draw: torch.Generator
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What is sent, and what the decoder gets of it."""
        if not self.draws:
            sent = tuple(noisy(z, sigma, draw) if z.is_floating_point() else z for z in payload)
            return sent, sent
        chain = Reparam()
        sent = chain.draw(payload, draw) if sigma > 0 else chain.sent(payload)
        return sent, chain.completed(sent, [z.dtype for z in payload])

    # ---- weights ---------------------------------------------------------------------------------------------------

    def go_on_from(self, parts: VariantParts) -> None:
        """Take the weights of an earlier fit.

        Raises:
            AdvisorError: when its encoder or decoder has another shape.
        """
        held = ((self.encoder, parts.encoder), (self.decoder, parts.decoder))
        try:
            for module, part in held:
                if module is not None:
                    module.load_state_dict(part.constants)
        except RuntimeError:
            raise AdvisorError("What is gone on from has another encoder or decoder.", "Fit it anew.") from None
        earlier = {**parts.edge_weights, **parts.cloud_weights}
        for name, weight in self._named():
            if name in earlier:
                weight.data.copy_(earlier[name])

    def new(self) -> list[nn.Parameter]:
        """Parameters of encoder and decoder."""
        return [p for part in (self.encoder, self.decoder) if part is not None for p in part.parameters()]

    def own(self) -> list[nn.Parameter]:
        """Those of the model that may change."""
        parts = [part for part in (self.edge, self.cloud, self.tail) if part is not None]
        return [p for part in parts for p in part.parameters() if p.requires_grad]

    def changed(self, half: Half) -> Mapping[str, Tensor]:
        """The model's own weights that may have changed, by their names in the graph; the cloud's with the tail's."""
        parts = (self.edge,) if half == "edge" else (self.cloud, self.tail)
        return {
            name: weight.detach().clone(memory_format=torch.contiguous_format)
            for name, weight in self._named(parts)
            if weight.requires_grad
        }

    def _named(self, parts: Sequence[nn.Module | None] = ()) -> list[tuple[str, nn.Parameter]]:
        """The model's own weights of these parts, or of all, by their names in the graph."""
        held = parts or (self.edge, self.cloud, self.tail)
        return [pair for part in held if part is not None for pair in _body(part).named_parameters()]


def noisy(z: Tensor, sigma: float, draw: torch.Generator) -> Tensor:
    """A payload with Gaussian noise of `sigma` times its root mean square.

    The gradient flows through the root mean square too: a louder payload hides nothing.
    """
    if sigma == 0:
        return z
    rms = z.square().mean().add(1e-12).sqrt()
    return z + sigma * rms * torch.randn(z.shape, generator=draw, dtype=z.dtype, device=z.device)


def _own_copy(module: nn.Module, trained: bool) -> nn.Module:
    own = copy.deepcopy(module).eval()
    for parameter in own.parameters():
        parameter.requires_grad_(trained and parameter.is_floating_point())
    return own


def _body(part: nn.Module) -> nn.Module:
    """What holds the weights under their names in the graph."""
    return part.body if isinstance(part, Grouped) else part


def tensors(value: Any) -> tuple[Tensor, ...]:
    """The tensors of a value, in order."""
    return tuple(leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))


def floats(value: Any) -> tuple[Tensor, ...]:
    """The floating-point ones."""
    return tuple(t for t in tensors(value) if t.is_floating_point())
