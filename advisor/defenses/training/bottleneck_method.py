"""What the methods of the one trainer share: settings, one fit; each adds its privacy terms, or parts of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from advisor.batches import carried
from advisor.cuts import Cut
from advisor.defenses.payload.space import Choice, Distribution, Int
from advisor.defenses.training.base import FitTask, Fitted, TrainedDefense
from advisor.defenses.training.defended_model import DefendedModel, Half
from advisor.defenses.training.encoders import Passing, bottleneck
from advisor.defenses.training.terms import PrivacyTerm
from advisor.defenses.training.trainer import Outcome, Schedule, Trainer
from advisor.errors import AdvisorError
from advisor.variant_parts import Change

MEASURED_ON = 512
"""Samples from which the channels' mean and spread are taken."""

TUNED: dict[str, tuple[Half, ...]] = {"none": (), "cloud": ("cloud",), "all": ("edge", "cloud")}

SCHEDULE: Mapping[str, Any] = {
    "sigma": (0.2, 1.0), "tuned": "all", "epochs": None, "batch": 128, "rate": 3e-3, "tuned_rate": 0.2,
}  # fmt: skip


class BottleneckMethod(TrainedDefense):
    """Encoder, noise, decoder; what may change of the model; and the privacy terms of a subclass."""

    settings: ClassVar[Mapping[str, Any]] = {"width": 8, "stride": 1, **SCHEDULE}
    changes: ClassVar[tuple[Change, ...]] = ("edge weights", "cloud weights", "app")
    space: ClassVar[Mapping[str, Distribution]] = {"width": Int(2, 64, log=True), "stride": Choice((1, 2))}
    answers: ClassVar[bool] = False
    """Whether the encoder gives the model's outputs, and no cloud half runs."""

    def parts(self, task: FitTask, some: tuple[Tensor, ...]) -> tuple[nn.Module | None, nn.Module | None]:
        """Encoder and decoder at a random start; None where there is none.

        Args:
            task: of the fit.
            some: activations at the cut, each `[n, ...]`.
        """
        return bottleneck(task.cut.tensors, some, task.recipe["width"], task.recipe["stride"])

    def terms(self, task: FitTask) -> Sequence[PrivacyTerm]:
        """The privacy terms of the loss."""
        return ()

    def initial_trials(self, cut: Cut) -> tuple[dict[str, Any], ...]:
        """Few channels at half the size where the activation is a large map; else few numbers."""
        if not {"width", "stride"} <= self.space.keys():
            return ({},)
        shape = max((spec.shape for spec in cut.tensors if spec.is_floating), key=len, default=())
        stride = 2 if len(shape) == 3 and min(shape[1:]) >= 8 else 1
        return tuple({"width": width, "stride": stride} for width in (8, 4, 16))

    def fit(self, task: FitTask) -> Fitted:
        """One run of the trainer."""
        draws = self.chain == "reparam"
        schedule, tuned = _schedule(task.recipe, (1.0, 1.0) if draws else (0.0, 0.0)), _tuned(task.recipe)
        terms = self.terms(task)
        some = carried(task.graph, tuple(t[:MEASURED_ON] for t in task.inputs), 0, task.cut.index)
        encoder, decoder = self.parts(task, some)
        model = DefendedModel(task, encoder, decoder, tuned, draws, self.answers)
        if task.start is not None:
            model.go_on_from(task.start.parts)
        found = Trainer(task, model, terms, schedule).run()
        return Fitted(
            encoder or Passing(), decoder or Passing(), self._told(found), (_sentence(found),), found.edge_weights,
            found.cloud_weights, tuple(dict.fromkeys(name for term in terms for name in term.against)), self.answers,
        )  # fmt: skip

    def _told(self, found: Outcome) -> dict[str, Any]:
        return {
            "payload_rms": found.rms, "validation_loss": found.loss, "validation_agreement": found.agreement,
            "epochs_run": found.epochs,
        }  # fmt: skip


def _schedule(recipe: Mapping[str, Any], without: tuple[float, float]) -> Schedule:
    """With the noise of the recipe; of a method that has no such setting, `without`."""
    low, high = (float(end) for end in recipe.get("sigma", without))
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


def _sentence(found: Outcome) -> str:
    return (
        f"Fitted in {found.epochs} epochs ({found.stopped}); agrees with the undefended model by {found.agreement:.1%} "
        f"on validation samples; sigma 1 of the recipe is {found.rms:.3g} of the payload."
    )
