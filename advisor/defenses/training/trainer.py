"""The one trainer: a bottleneck with noise, a task term, privacy terms, and what may change of the model."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from advisor.batches import carried
from advisor.checkpoint import Checkpoint
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.task_terms import distillation, labels_loss
from advisor.defenses.training.terms import PrivacyTerm, Step
from advisor.errors import AdvisorError

HELD_BACK = 0.1
"""Of the training samples, to stop by, where no validation samples are given."""

CACHE_BYTES = 2**30
"""Activations of a fixed edge half are computed once where they fit; else anew for each batch."""

PATIENCE = 3
"""Epochs without a better validation loss after which a fit ends."""

SHORTEST = 10
"""Steps of the shortest cycle: torch divides by the steps of its rise, less one."""

Half = Literal["edge", "cloud"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        epochs: passes over the training samples at most.
        batch: samples a step.
        rate: peak learning rate of new modules (AdamW, one cycle).
        tuned_rate: of the model's own weights, as a share of that.
        sigma: range of the noise's standard deviation, in units of the payload's root mean square; drawn per batch.
    """

    epochs: int
    batch: int
    rate: float
    tuned_rate: float
    sigma: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What training gave.

    Attributes:
        edge_weights, cloud_weights: those of the model's own that changed, by name in the graph.
        loss: of the task, on validation samples, at the middle of the noise range.
        rms: root mean square of the payload: an absolute sigma is a relative one times this.
        epochs: that were run.
        stopped: why no more were.
    """

    edge_weights: Mapping[str, Tensor]
    cloud_weights: Mapping[str, Tensor]
    loss: float
    rms: float
    epochs: int
    stopped: str


@dataclass(eq=False)
class Trainer:
    """Trains encoder, decoder and the halves that may change.

    Args:
        task: samples, labels, seed, folder, progress.
        encoder, decoder: are trained in place; None where there is no bottleneck.
        tuned: halves whose weights may change.
        terms: privacy terms.
        schedule: how long and how fast.
    """

    task: FitTask
    encoder: nn.Module | None
    decoder: nn.Module | None
    tuned: tuple[Half, ...]
    terms: Sequence[PrivacyTerm]
    schedule: Schedule
    best: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        graph, cut = self.task.graph, self.task.cut.index
        self.edge = _own_copy(graph.piece(cut, 0), "edge" in self.tuned) if cut else nn.Identity()
        self.cloud = _own_copy(graph.piece(len(graph.cuts) - 1, cut), "cloud" in self.tuned)
        self.modules = nn.ModuleDict({"edge": self.edge, "cloud": self.cloud})
        if self.encoder is not None and self.decoder is not None:
            self.modules.update({"encoder": self.encoder, "decoder": self.decoder})

    # ---- one fit ---------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train until validation is flat or the epochs are over; ends in the best state seen.

        Raises:
            AdvisorError: when no epoch gave a finite validation loss.
        """
        fit, held = self._samples()
        own = [p for half in self.tuned for p in self._half(half).parameters() if p.requires_grad]
        new = [p for name in ("encoder", "decoder") if name in self.modules for p in self.modules[name].parameters()]
        peaks = [(new, self.schedule.rate), (own, self.schedule.rate * self.schedule.tuned_rate)]
        groups: list[dict[str, Any]] = [{"params": moved, "lr": rate} for moved, rate in peaks if moved]
        optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
        steps = self.schedule.epochs * math.ceil(len(fit.rows) / self.schedule.batch)
        rates = [float(group["lr"]) for group in groups]
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=max(steps, SHORTEST), pct_start=0.2)
        keeper = Checkpoint(
            None if self.task.folder is None else self.task.folder / "fit.pt", (steps, len(fit.rows), self.task.seed)
        )
        epoch, waited = self._resume(keeper, optimiser, cycle)
        stopped = "all epochs taken"
        while epoch < self.schedule.epochs:
            self._epoch(fit, [*new, *own], optimiser, cycle, epoch)
            epoch += 1
            loss = self._validation(held)
            waited = 0 if self._better(loss) else waited + 1
            keeper.save(self._state(optimiser, cycle, epoch, waited))
            self.task.progress(epoch / self.schedule.epochs)
            if waited >= PATIENCE:
                stopped = "validation is flat"
                break
        if not self.best:
            raise AdvisorError("Fitting did not recover: no epoch ended in numbers.", "Lower its rate or its weights.")
        self.modules.load_state_dict(self.best["weights"])
        return Outcome(
            self._changed("edge"), self._changed("cloud"), self.best["loss"], self._rms(held), epoch, stopped
        )

    def _epoch(
        self, fit: _Samples, moving: list[nn.Parameter], optimiser: torch.optim.Optimizer, cycle: Any, epoch: int
    ) -> None:
        draw = torch.Generator().manual_seed(self.task.seed * 1000 + epoch)
        torch.manual_seed(self.task.seed * 1000 + epoch)  # of what terms draw
        for term in self.terms:
            term.begin(epoch)
        total = math.ceil(len(fit.rows) / self.schedule.batch)
        for number, rows in enumerate(torch.split(torch.randperm(len(fit.rows), generator=draw), self.schedule.batch)):
            loss = self._loss(fit, rows, draw)
            if torch.isfinite(loss):
                gradients = torch.autograd.grad(loss, moving, allow_unused=True)
                for parameter, gradient in zip(moving, gradients, strict=True):
                    parameter.grad = gradient
                nn.utils.clip_grad_norm_(moving, 1.0)
                optimiser.step()
            cycle.step()
            self.task.progress((epoch + (number + 1) / total) / self.schedule.epochs)

    def _loss(self, fit: _Samples, rows: Tensor, draw: torch.Generator) -> Tensor:
        step = self._forward(fit, rows, self._sigma(draw), draw)
        labels = None if fit.labels is None else fit.labels[rows]
        wanted = tuple(t[rows] for t in fit.answers)
        task = distillation(step.outputs, wanted) if labels is None else labels_loss(step.outputs, labels)
        return task + sum((term.loss(step) for term in self.terms), task.new_zeros(()))

    def _forward(self, fit: _Samples, rows: Tensor, sigma: float, draw: torch.Generator) -> Step:
        inputs = tuple(t[rows] for t in fit.inputs)
        if self._through_input and torch.is_grad_enabled():
            inputs = tuple(t.clone().requires_grad_() if t.is_floating_point() else t for t in inputs)
        activation = fit.activation(rows) if fit.cached is not None else _tensors(self.edge(*inputs))
        payload = activation if self.encoder is None else _tensors(self.encoder(*activation))
        sent = tuple(noisy(z, sigma, draw) if z.is_floating_point() else z for z in payload)
        received = sent if self.decoder is None else _tensors(self.decoder(*sent))
        outputs = tuple(t.float() for t in _tensors(self.cloud(*received)) if t.is_floating_point())
        floats = [tuple(z for z in part if z.is_floating_point()) for part in (payload, sent)]
        wanted = next((t for t in inputs if t.is_floating_point()), torch.zeros(len(rows), 1))
        return Step(wanted, floats[0], floats[1], outputs)

    @property
    def _through_input(self) -> bool:
        return any(term.through_input for term in self.terms)

    def _sigma(self, draw: torch.Generator) -> float:
        low, high = self.schedule.sigma
        return low + (high - low) * float(torch.rand((), generator=draw))

    # ---- samples ---------------------------------------------------------------------------------------------------

    def _samples(self) -> tuple[_Samples, _Samples]:
        inputs, labels, count = self.task.inputs, self.task.labels, len(self.task.inputs[0])
        if self.task.validation is not None:
            return self._prepared(inputs, labels), self._prepared(self.task.validation, None)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.task.seed))
        cut = max(1, int(HELD_BACK * count))
        held, fit = order[:cut], order[cut:]
        own = None if labels is None else labels[fit]
        learnt, kept = (tuple(t[rows] for t in inputs) for rows in (fit, held))
        return self._prepared(learnt, own), self._prepared(kept, None)

    def _prepared(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> _Samples:
        graph, cut = self.task.graph, self.task.cut
        answers = tuple(
            t.float() for t in carried(graph, inputs, 0, len(graph.cuts) - 1) if t.is_floating_point() and t.dim()
        )
        fixed = "edge" not in self.tuned and not self._through_input
        fits = fixed and len(inputs[0]) * cut.bytes <= CACHE_BYTES
        cached = carried(graph, inputs, 0, cut.index) if fits else None
        return _Samples(inputs, labels, answers, cached)

    @torch.no_grad()
    def _validation(self, held: _Samples) -> float:
        """The task's loss at the middle of the noise range, with the same noise each time."""
        draw = torch.Generator().manual_seed(self.task.seed)
        middle, losses = sum(self.schedule.sigma) / 2, []
        for rows in torch.split(held.rows, self.schedule.batch):
            step = self._forward(held, rows, middle, draw)
            losses.append(float(distillation(step.outputs, tuple(t[rows] for t in held.answers))) * len(rows))
        return sum(losses) / len(held.rows)

    @torch.no_grad()
    def _rms(self, held: _Samples) -> float:
        draw = torch.Generator().manual_seed(self.task.seed)
        squares, count = 0.0, 0
        for rows in torch.split(held.rows, self.schedule.batch):
            for z in self._forward(held, rows, 0.0, draw).payload:
                squares, count = squares + float(z.double().square().sum()), count + z.numel()
        return math.sqrt(squares / max(1, count))

    # ---- state -----------------------------------------------------------------------------------------------------

    def _better(self, loss: float) -> bool:
        if not math.isfinite(loss) or loss >= self.best.get("loss", math.inf):
            return False
        self.best = {"loss": loss, "weights": copy.deepcopy(self.modules.state_dict())}
        return True

    def _state(self, optimiser: torch.optim.Optimizer, cycle: Any, epoch: int, waited: int) -> dict[str, Any]:
        return {
            "epoch": epoch, "waited": waited, "best": self.best, "weights": self.modules.state_dict(),
            "optimiser": optimiser.state_dict(), "cycle": cycle.state_dict(),
        }  # fmt: skip

    def _resume(self, keeper: Checkpoint, optimiser: torch.optim.Optimizer, cycle: Any) -> tuple[int, int]:
        kept = keeper.load()
        if kept is None:
            return 0, 0
        self.modules.load_state_dict(kept["weights"])
        optimiser.load_state_dict(kept["optimiser"])
        cycle.load_state_dict(kept["cycle"])
        self.best = kept["best"]
        return int(kept["epoch"]), int(kept["waited"])

    def _half(self, half: Half) -> nn.Module:
        return self.edge if half == "edge" else self.cloud

    def _changed(self, half: Half) -> dict[str, Tensor]:
        if half not in self.tuned:
            return {}
        return {name: p.detach().clone() for name, p in self._half(half).named_parameters() if p.requires_grad}


@dataclass(frozen=True, eq=False)
class _Samples:
    inputs: tuple[Tensor, ...]
    labels: Tensor | None
    answers: tuple[Tensor, ...]
    cached: tuple[Tensor, ...] | None

    @property
    def rows(self) -> Tensor:
        return torch.arange(len(self.inputs[0]))

    def activation(self, rows: Tensor) -> tuple[Tensor, ...]:
        assert self.cached is not None
        return tuple(t[rows] for t in self.cached)


def noisy(z: Tensor, sigma: float, draw: torch.Generator) -> Tensor:
    """A payload with Gaussian noise of `sigma` times its root mean square.

    The gradient flows through the root mean square too: a louder payload hides nothing.
    """
    if sigma == 0:
        return z
    rms = z.square().mean().add(1e-12).sqrt()
    return z + sigma * rms * torch.randn(z.shape, generator=draw, dtype=z.dtype, device=z.device)


def _own_copy(module: nn.Module, trained: bool) -> nn.Module:
    """A half of its own: the user's model stays as it is."""
    own = copy.deepcopy(module).eval()
    for parameter in own.parameters():
        parameter.requires_grad_(trained and parameter.is_floating_point())
    return own


def _tensors(value: Any) -> tuple[Tensor, ...]:
    return tuple(leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))
