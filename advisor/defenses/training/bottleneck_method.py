"""What the methods with a bottleneck share: settings, one fit by the trainer; a method adds its privacy terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from advisor.batches import carried
from advisor.defenses.training.base import FitTask, Fitted, TrainedDefense
from advisor.defenses.training.encoders import bottleneck
from advisor.defenses.training.terms import PrivacyTerm
from advisor.defenses.training.trainer import Half, Outcome, Schedule, Trainer
from advisor.errors import AdvisorError
from advisor.variant_parts import Change

MEASURED_ON = 512
"""Samples from which the channels' mean and spread are taken."""

TUNED: dict[str, tuple[Half, ...]] = {"none": (), "cloud": ("cloud",), "all": ("edge", "cloud")}

SCHEDULE: Mapping[str, Any] = {
    "sigma": (0.2, 1.0), "tuned": "all", "epochs": 6, "batch": 128, "rate": 3e-3, "tuned_rate": 0.2,
}  # fmt: skip


class BottleneckMethod(TrainedDefense):
    """Encoder, noise, decoder; what may change of the model; and the privacy terms of a subclass."""

    settings: ClassVar[Mapping[str, Any]] = {"width": 8, "stride": 1, **SCHEDULE}
    changes: ClassVar[tuple[Change, ...]] = ("app", "cloud weights", "edge weights")
    narrow: ClassVar[bool] = True
    """Whether there is a bottleneck at all."""

    def terms(self, recipe: Mapping[str, Any]) -> Sequence[PrivacyTerm]:
        """The privacy terms of the loss."""
        return ()

    def fit(self, task: FitTask) -> Fitted:
        """One run of the trainer."""
        recipe = task.recipe
        schedule, tuned, terms = _schedule(recipe), _tuned(recipe), self.terms(recipe)
        encoder: nn.Module | None = None
        decoder: nn.Module | None = None
        if self.narrow:
            some = carried(task.graph, tuple(t[:MEASURED_ON] for t in task.inputs), 0, task.cut.index)
            encoder, decoder = bottleneck(task.cut.tensors, some, recipe["width"], recipe["stride"])
        found = Trainer(task, encoder, decoder, tuned, terms, schedule).run()
        return Fitted(
            encoder or Passing(), decoder or Passing(), _told(found), (_sentence(found),), found.edge_weights,
            found.cloud_weights, tuple(dict.fromkeys(name for term in terms for name in term.against)),
        )  # fmt: skip


class Passing(nn.Module):
    """Tensors as they are."""

    def forward(self, *tensors: Any) -> Any:
        """The tensors."""
        return tensors[0] if len(tensors) == 1 else tensors


def _schedule(recipe: Mapping[str, Any]) -> Schedule:
    low, high = (float(end) for end in recipe["sigma"])
    if not 0 <= low <= high:
        raise AdvisorError(f"Noise from {low} to {high} makes no sense.", "Pass sigma=(low, high), from 0 upwards.")
    if recipe["epochs"] < 1 or recipe["batch"] < 2:
        raise AdvisorError("A fit needs at least one epoch and two samples a batch.", "Raise epochs or batch.")
    return Schedule(
        int(recipe["epochs"]), int(recipe["batch"]), float(recipe["rate"]), float(recipe["tuned_rate"]), (low, high)
    )


def _tuned(recipe: Mapping[str, Any]) -> tuple[Half, ...]:
    if recipe["tuned"] not in TUNED:
        raise AdvisorError(f"There is no way {recipe['tuned']!r} to tune a model.", f"Known: {', '.join(TUNED)}.")
    return TUNED[recipe["tuned"]]


def _told(found: Outcome) -> dict[str, Any]:
    return {"payload_rms": found.rms, "validation_loss": found.loss, "epochs_run": found.epochs}


def _sentence(found: Outcome) -> str:
    return f"Fitted in {found.epochs} epochs ({found.stopped}); sigma 1 of the recipe is {found.rms:.3g} of the payload"
