"""`infoscissors`: CLUB on the input side, and in U-shaped plans on the prediction side (Duan et al., NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from advisor.defenses.payload.space import Distribution, Float
from advisor.defenses.training.adversaries import Club
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.prediction_adversary import PredictionClub
from advisor.defenses.training.terms import PrivacyTerm
from advisor.errors import AdvisorError


class InfoScissors(BottleneckMethod):
    """Bottleneck, noise, the CLUB bound of the input, and of the prediction where a tail makes it on the edge."""

    name: ClassVar[str] = "infoscissors"
    about: ClassVar[str] = "narrow payload, noise and CLUB with learned variance (InfoScissors, Duan et al. 2024)"
    paper: ClassVar[str] = "Duan et al., NeurIPS 2024, equations 7 to 9"
    cost: ClassVar[str] = "1.5 to 3 plain steps: three steps of the posterior a step"
    weakness: ClassVar[str] = (
        "the bound is as good as its posterior: a fresh decoder with thousands of samples reads more"
    )
    settings: ClassVar[Mapping[str, Any]] = {**BottleneckMethod.settings, "weight": 1.0, "prediction": None}
    space: ClassVar[Mapping[str, Distribution]] = {**BottleneckMethod.space, "weight": Float(0.1, 4.0, log=True)}

    def terms(self, task: FitTask) -> Sequence[PrivacyTerm]:
        """CLUB of the input; with a tail also of the prediction, by default with the same weight."""
        weight, wanted = float(task.recipe["weight"]), task.recipe["prediction"]
        if wanted and task.tail is None:
            raise AdvisorError(
                "Without a tail the cloud makes the prediction: nothing can hide it.", "Pass tail=, or no prediction=."
            )
        prediction = 0.0 if task.tail is None else weight if wanted is None else float(wanted)
        return (Club(weight), *([PredictionClub(prediction)] if prediction else []))
