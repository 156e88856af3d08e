"""The one trainer: a defended model, a task term, privacy terms; until validation is flat, or the epochs are over.

Without privacy terms the epoch with the least task loss on validation samples counts. With them that would be the least
private one, and what hides from an opponent that still learns has no loss to compare over epochs: the last one counts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from advisor.defenses.training.base import FitTask
from advisor.defenses.training.defended_model import DefendedModel
from advisor.defenses.training.fit_samples import FitSamples, divided
from advisor.defenses.training.opponents import Opponents
from advisor.defenses.training.task_terms import agreement, distillation, labels_loss
from advisor.defenses.training.terms import PrivacyTerm, Step
from advisor.errors import AdvisorError
from advisor.support.checkpoint import Checkpoint

PATIENCE, PATIENT_SHARE = 3, 0.25
"""Epochs without a better validation loss after which a fit ends; of a long fit so many of its epochs."""


TRIED_ON = 4
"""Samples on which a layout of the maps is tried."""

SHORTEST = 10
"""Steps of the shortest cycle: torch divides by the steps of its rise, less one."""


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
        agreement: with the undefended model there: share of equal classes, or R².
        rms: root mean square of the payload: an absolute sigma is a relative one times this.
        epochs: that were run.
        stopped: why no more were.
    """

    edge_weights: Mapping[str, Tensor]
    cloud_weights: Mapping[str, Tensor]
    loss: float
    agreement: float
    rms: float
    epochs: int
    stopped: str


@dataclass(eq=False)
class Trainer:
    """Trains encoder, decoder and the halves that may change, in place.

    Args:
        task: samples, labels, seed, folder, progress.
        model: the defended model.
        terms: privacy terms.
        schedule: how long and how fast.
    """

    task: FitTask
    model: DefendedModel
    terms: Sequence[PrivacyTerm]
    schedule: Schedule
    best: dict[str, Any] = field(default_factory=dict, init=False)
    opponents: Opponents = field(default_factory=lambda: Opponents(()), init=False)

    @property
    def _through_input(self) -> bool:
        return any(term.through_input for term in self.terms)

    # ---- one fit ---------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train until validation is flat or the epochs are over; ends in the state that counts.

        Raises:
            AdvisorError: when no epoch gave a finite validation loss.
        """
        fit, held = divided(self.task, self.model.fixed_edge and not self._through_input)
        self._prepare(fit)
        moving, optimiser, cycle = self._optimiser(len(fit))
        keeper = Checkpoint(self.task.checkpoint, (self.schedule.epochs, len(fit), self.task.seed))
        epoch, waited = self._resume(keeper, optimiser, cycle)
        patience = max(PATIENCE, round(PATIENT_SHARE * self.schedule.epochs))
        stopped = "all epochs taken"
        while epoch < self.schedule.epochs:
            self._epoch(fit, moving, optimiser, cycle, epoch)
            epoch += 1
            loss = self._validation(held)
            waited = 0 if self._better(loss) else waited + 1
            keeper.save(self._state(optimiser, cycle, epoch, waited))
            self.task.progress(epoch / self.schedule.epochs)
            if not math.isfinite(loss):
                stopped = "it came apart, and did not recover; the state before is kept"
                break
            if waited >= patience:
                stopped = "validation is flat"
                break
        if not self.best:
            raise AdvisorError("Fitting did not recover: no epoch ended in numbers.", "Lower its rate or its weights.")
        self.model.load_state_dict(self.best["weights"])
        found, rms = self._agreement(held), self._rms(held)
        self.model.store_plainly()
        edge, cloud = self.model.changed("edge"), self.model.changed("cloud")
        return Outcome(edge, cloud, self.best["loss"], found, rms, epoch, stopped)

    def _prepare(self, fit: FitSamples) -> None:
        """Choose the layout, and let the terms meet a few samples."""
        few = fit.at(torch.arange(min(len(fit), TRIED_ON)))
        self.model.store_channels_last(few)
        step = self.model(few, 0.0, torch.Generator().manual_seed(self.task.seed))
        for term in self.terms:
            term.meet(step)
        self.opponents = Opponents(self.terms)

    def _optimiser(self, samples: int) -> tuple[list[nn.Parameter], torch.optim.Optimizer, Any]:
        new, own = self.model.new(), self.model.own()
        peaks = [(new, self.schedule.rate), (own, self.schedule.rate * self.schedule.tuned_rate)]
        groups: list[dict[str, Any]] = [{"params": moved, "lr": rate} for moved, rate in peaks if moved]
        if not groups:
            raise AdvisorError("This recipe changes nothing.", "Pass tuned='cloud' or 'all'.")
        optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
        steps = self.schedule.epochs * math.ceil(samples / self.schedule.batch)
        rates = [float(group["lr"]) for group in groups]
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=max(steps, SHORTEST), pct_start=0.2)
        return [*new, *own], optimiser, cycle

    def _epoch(
        self, fit: FitSamples, moving: list[nn.Parameter], optimiser: torch.optim.Optimizer, cycle: Any, epoch: int
    ) -> None:
        draw = torch.Generator().manual_seed(self.task.seed * 1000 + epoch)
        torch.manual_seed(self.task.seed * 1000 + epoch)  # of what terms draw
        for term in self.terms:
            term.begin(epoch)
        total = math.ceil(len(fit) / self.schedule.batch)
        for number, rows in enumerate(torch.split(torch.randperm(len(fit), generator=draw), self.schedule.batch)):
            loss = self._loss(fit.at(rows), draw)
            if torch.isfinite(loss):
                learning = [*moving, *self.opponents.parameters]
                for parameter, gradient in zip(
                    learning, torch.autograd.grad(loss, learning, allow_unused=True), strict=True
                ):
                    parameter.grad = gradient
                nn.utils.clip_grad_norm_(moving, 1.0)
                optimiser.step()
                self.opponents.step()
            cycle.step()
            self.task.progress((epoch + (number + 1) / total) / self.schedule.epochs)

    def _loss(self, batch: FitSamples, draw: torch.Generator) -> Tensor:
        low, high = self.schedule.sigma
        sigma = low + (high - low) * float(torch.rand((), generator=draw))
        step = self.model(batch, sigma, draw, self._through_input)
        task = (
            distillation(step.outputs, batch.answers)
            if batch.labels is None
            else labels_loss(step.outputs, batch.labels)
        )
        return task + sum((term.loss(step) for term in self.terms), task.new_zeros(()))

    # ---- validation ------------------------------------------------------------------------------------------------

    def _over(self, held: FitSamples, sigma: float) -> Iterator[tuple[FitSamples, Step]]:
        """Validation samples in batches, with the same noise each time."""
        draw = torch.Generator().manual_seed(self.task.seed)
        for rows in torch.split(torch.arange(len(held)), self.schedule.batch):
            batch = held.at(rows)
            with torch.no_grad():
                step = self.model(batch, sigma, draw)
            yield batch, step

    @property
    def _middle(self) -> float:
        return sum(self.schedule.sigma) / 2

    def _validation(self, held: FitSamples) -> float:
        """The task's loss at the middle of the noise range."""
        losses = [
            float(distillation(step.outputs, batch.answers)) * len(batch)
            for batch, step in self._over(held, self._middle)
        ]
        return sum(losses) / len(held)

    def _agreement(self, held: FitSamples) -> float:
        found = [(step.outputs[0], batch.answers[0]) for batch, step in self._over(held, self._middle)]
        outputs, answers = (torch.cat(parts) for parts in zip(*found, strict=True))
        return agreement(outputs, answers)

    def _rms(self, held: FitSamples) -> float:
        told = [(float(z.double().square().sum()), z.numel()) for _, step in self._over(held, 0.0) for z in step.sent]
        squares, count = (sum(parts) for parts in zip(*told, strict=True))
        return math.sqrt(squares / count)

    # ---- state -----------------------------------------------------------------------------------------------------

    def _better(self, loss: float) -> bool:
        """Keep the state of an epoch that counts more than those before."""
        if not math.isfinite(loss) or (not self.terms and loss >= self.best.get("loss", math.inf)):
            return False
        self.best = {"loss": loss, "weights": copy.deepcopy(self.model.state_dict())}
        return True

    def _state(self, optimiser: torch.optim.Optimizer, cycle: Any, epoch: int, waited: int) -> dict[str, Any]:
        return {
            "epoch": epoch, "waited": waited, "best": self.best, "weights": self.model.state_dict(),
            "optimiser": optimiser.state_dict(), "cycle": cycle.state_dict(), "opponents": self.opponents.state(),
        }  # fmt: skip

    def _resume(self, keeper: Checkpoint, optimiser: torch.optim.Optimizer, cycle: Any) -> tuple[int, int]:
        kept = keeper.load()
        if kept is None:
            return 0, 0
        self.model.load_state_dict(kept["weights"])
        optimiser.load_state_dict(kept["optimiser"])
        cycle.load_state_dict(kept["cycle"])
        self.opponents.restore(kept["opponents"])
        self.best = kept["best"]
        return int(kept["epoch"]), int(kept["waited"])
