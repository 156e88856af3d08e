"""The books of a search: Optuna samples trials from them, and they are kept as a study on a storage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, create_trial

from advisor.cuts import Cut
from advisor.defenses import DEFENSES, defense_to_json
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.shared_study.estimates_as_json import as_json
from advisor.planning.shared_study.study_storage import known_trials, quiet
from advisor.plans import Plan
from advisor.requirements import REQUIREMENTS, front

STARTUP = 5
"""Trials before which the sampler guesses."""

Values = dict[str, Any]


@dataclass(eq=False)
class Books:
    """The finished trials of a search, in the order of their numbers.

    Attributes:
        cuts: by name, those that are searched.
        names: of the defenses that are tried.
        seed: of the sampler; each trial has its own, by its number.
        limits: what a plan may leak.
    """

    cuts: Mapping[str, Cut]
    names: tuple[str, ...]
    seed: int
    limits: LeakageLimits
    trials: list[FrozenTrial] = field(default_factory=list, init=False)

    @property
    def count(self) -> int:
        """Finished trials."""
        return len(self.trials)

    def sampled(self, suggestions: Sequence[Values], more: int) -> list[Values]:
        """The parameters of a round's trials: what was suggested, and so many that Optuna samples."""
        with quiet():
            study = self._study(None, "round")
            study.add_trials(self.trials)
            return [self._drawn(study, self.count + number, values) for number, values in enumerate(suggestions)] + [
                self._drawn(study, self.count + len(suggestions) + number) for number in range(more)
            ]

    def checked(self, values: Any) -> Values:
        """The parameters of a trial, as Optuna takes them.

        Raises:
            KeyError, TypeError, ValueError: on what is not searched.
        """
        found = {"cut": values["cut"], "defense": values["defense"]}
        if found["cut"] not in self.cuts or found["defense"] not in self.names:
            raise ValueError("another cut or defense than those that are searched")
        for name, span in DEFENSES.find(found["defense"]).space.items():
            key = f"{found['defense']}.{name}"
            if not span.contains(values[key]):
                raise ValueError(f"{key} is {str(values[key])[:40]}")
            found[key] = values[key]
        return found

    def keep(self, values: Values, plan: Plan) -> None:
        """Enter a finished trial."""
        with quiet():
            study = self._study(None, "trial")
            study.enqueue_trial(values)
            trial = study.ask()
            self._suggested(trial)
        told = {"cut": plan.cut.name, "defense": defense_to_json(plan.defense), "predicted": as_json(plan.predicted)}
        self.trials.append(
            create_trial(
                values=_objectives(plan),
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={"plan": told},
                constraints=_missed(plan, self.limits),
            )
        )  # fmt: skip

    def write(self, storage: BaseStorage, name: str) -> None:
        """Add the trials that a study on a storage does not have yet."""
        study = self._study(storage, name)
        study.add_trials(self.trials[len(known_trials(study)) :])

    def _study(self, storage: BaseStorage | None, name: str) -> Study:
        way = StudyDirection
        directions = [way.MINIMIZE if row.minimised else way.MAXIMIZE for row in front()]
        return optuna.create_study(storage=storage, study_name=name, load_if_exists=True, directions=directions)

    def _drawn(self, study: Study, number: int, values: Values | None = None) -> Values:
        study.sampler = optuna.samplers.TPESampler(seed=self.seed + number, n_startup_trials=STARTUP)
        if values is not None:
            study.enqueue_trial(values)
        return self._suggested(study.ask())

    def _suggested(self, trial: Trial) -> Values:
        trial.suggest_categorical("cut", list(self.cuts))
        name = trial.suggest_categorical("defense", list(self.names))
        for key, span in DEFENSES.find(name).space.items():
            span.suggest(trial, f"{name}.{key}")
        return dict(trial.params)


def _objectives(plan: Plan) -> tuple[float, ...]:
    """What the front weighs: latency (s, low), score (high), accuracy drop (low); not measured counts as the worst."""
    values = [(plan.predicted[row.measurement].value, row.worst) for row in front()]
    return tuple(worst if math.isnan(value) else value for value, worst in values)


def _missed(plan: Plan, limits: LeakageLimits) -> dict[str, float]:
    """Requirement -> by how much it is missed, 0 where it is met, 1 where that could not be measured."""
    missed = {**plan.excess, **limits.shortfall(plan)}
    return {name: 1.0 if math.isnan(missed.get(name, 0.0)) else missed.get(name, 0.0) for name in REQUIREMENTS}
