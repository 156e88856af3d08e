"""The search over cut × defense with Optuna, its only home. A study on a storage can be killed and resumed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from advisor.choosing import LeakageLimits, with_excess
from advisor.cuts import Cut
from advisor.defenses import DEFENSES, Defense, GaussianNoise, NoDefense, defense_from_json, defense_to_json
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.plans import Budgets, Plan
from advisor.pricing import Pricer

SEEDED_SHARE = 0.6
"""Share of the trials that start from what the noise curves suggest; the sampler has the rest."""

MARGIN = 0.9
"""Suggested noise leaves this share of what the limit allows an attacker to explain."""


@dataclass(frozen=True)
class SearchResult:
    """Every plan that was priced, and whether the user stopped the search."""

    plans: tuple[Plan, ...]
    interrupted: bool = False


@dataclass(frozen=True)
class Search:
    """What to search.

    Attributes:
        pricer: prices plans.
        budgets, limits: what a plan must meet.
        defenses: names of the defenses to try.
        trials: defended plans to price; undefended ones are all priced and not counted.
        timeout: seconds after which no new trial starts, or None.
        storage: Optuna storage URL, or None to keep the study in memory.
        identity: what the study is about; a study on a storage is resumed only for the same.
        seed: of the sampler.
    """

    pricer: Pricer
    budgets: Budgets
    limits: LeakageLimits
    defenses: tuple[str, ...]
    trials: int
    timeout: float | None
    storage: str | None
    identity: dict[str, Any]
    seed: int

    def run(self, progress: Callable[[float, str], None] | None = None) -> SearchResult:
        """Price every undefended cut, then spend the trials on defended ones."""
        bare = [self._priced(cut, NoDefense()) for cut in self.pricer.candidates]
        if not bare:
            return SearchResult(())
        names = [name for name in self.defenses if name != NoDefense.name]
        if not names or self.trials < 1:
            return SearchResult(tuple(bare))
        with _quiet():
            found, interrupted = self._tried_all(bare, names, progress)
        return SearchResult((*bare, *found), interrupted)

    def _tried_all(
        self, bare: Sequence[Plan], names: Sequence[str], progress: Callable[[float, str], None] | None
    ) -> tuple[list[Plan], bool]:
        study = self._study()
        plans = {trial.number: plan for trial in study.trials if (plan := self._restored(trial)) is not None}
        if not plans:
            for parameters in self._suggestions(bare, names):
                study.enqueue_trial(parameters)
        done = len(plans)

        def objective(trial: Trial) -> tuple[float, float, float]:
            plan = self._tried(trial, names)
            plans[trial.number] = plan
            if progress:
                progress(min(1.0, (len(plans)) / self.trials), str(plan))
            return _objectives(plan)

        try:
            study.optimize(objective, n_trials=max(0, self.trials - done), timeout=self.timeout)
        except KeyboardInterrupt:
            return list(plans.values()), True
        return list(plans.values()), False

    # ---- plans ---------------------------------------------------------------------------------------------------

    def _priced(self, cut: Cut, defense: Defense) -> Plan:
        return with_excess(self.pricer.price(cut, defense), self.budgets, self.limits)

    def _tried(self, trial: Trial, names: Sequence[str]) -> Plan:
        cuts = {cut.name: cut for cut in self.pricer.candidates}
        cut = cuts[trial.suggest_categorical("cut", list(cuts))]
        name = trial.suggest_categorical("defense", list(names))
        space = DEFENSES[name].search_space
        values = {key: trial.suggest_float(f"{name}.{key}", low, high, log=True) for key, (low, high) in space.items()}
        plan = self._priced(cut, self.defense(cut, name, values))
        predicted = {key: _plain(value) for key, value in plan.predicted.items()}
        trial.set_user_attr("plan", {"cut": cut.name, "defense": defense_to_json(plan.defense), "predicted": predicted})
        for missed, over in _missed(plan, self.limits).items():
            trial.set_constraint(missed, over)
        return plan

    def defense(self, cut: Cut, name: str, values: dict[str, float]) -> Defense:
        """The defense at one cut from its searched parameters; noise at a wanted dFIL needs the cut's Fisher trace."""
        if cut.undefendable:
            return NoDefense()
        if name != GaussianNoise.name:
            return DEFENSES[name](**values)
        fisher = self.pricer.profile["fisher"].at(cut).value if "fisher" in self.pricer.profile else math.nan
        if math.isnan(fisher):
            return NoDefense()
        return GaussianNoise.for_dfil(fisher, values["dfil"])

    def _restored(self, trial: FrozenTrial) -> Plan | None:
        record = trial.user_attrs.get("plan")
        if trial.state is not TrialState.COMPLETE or record is None:
            return None
        graph = self.pricer.graph
        predicted = {key: Estimate(**value) for key, value in record["predicted"].items()}
        cut, defense = graph.cut(record["cut"]), defense_from_json(record["defense"])
        return with_excess(self.pricer.plan(cut, defense, predicted), self.budgets, self.limits)

    # ---- what to try first ---------------------------------------------------------------------------------------

    def _suggestions(self, bare: Sequence[Plan], names: Sequence[str]) -> list[dict[str, Any]]:
        """At each promising cut the least noise that the noise curve finds enough, and the parameterless defenses.

        In the order of the cuts: each crossing is then computed from the one before.
        """
        cheap = [plan for plan in bare if not self.budgets.excess(plan.predicted)] or list(bare)
        cheap.sort(key=lambda plan: plan.predicted["latency"].value)
        found = []
        for plan in cheap:
            if GaussianNoise.name in names and (dfil := self.enough_noise(plan.cut)) is not None:
                found.append({"cut": plan.cut.name, "defense": GaussianNoise.name, "gaussian.dfil": dfil})
            plain = [name for name in names if not DEFENSES[name].search_space]
            found += [{"cut": plan.cut.name, "defense": name} for name in plain if plan.cut.block]
        room = max(1, int(SEEDED_SHARE * self.trials))
        if len(found) > room:
            found = [found[round(i * (len(found) - 1) / max(1, room - 1))] for i in range(room)]
        return sorted(found, key=lambda parameters: self.pricer.graph.cut(parameters["cut"]).index)

    def enough_noise(self, cut: Cut) -> float | None:
        """The dFIL at which the predicted attack meets the limits; None where none in range does or none is needed."""
        curve, profile = self.pricer.curve(cut), self.pricer.profile
        if curve is None or "fisher" not in profile:
            return None
        fisher, allowed = profile["fisher"].at(cut).value, MARGIN * self.pricer.allowed_share(cut, self.limits)
        sigma = curve.sigma_for(allowed) if allowed < MARGIN else 0.0
        low, high = GaussianNoise.search_space["dfil"]
        dfil = fisher / sigma**2 if sigma > 0 else math.inf
        return dfil if low <= dfil <= high else None

    # ---- the study -----------------------------------------------------------------------------------------------

    def _study(self) -> Study:
        text = json.dumps(self.identity, sort_keys=True, default=str)
        name = f"advisor-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        try:
            study = optuna.create_study(
                storage=self.storage, study_name=name, load_if_exists=True,
                directions=["minimize", "maximize", "minimize"],
            )  # fmt: skip
        except Exception as error:
            if self.storage is None:
                raise
            line = str(error).splitlines()[0][:160]
            raise AdvisorError(
                f"The storage {self.storage!r} cannot be opened: {line}.",
                "Use for example --storage sqlite:///search.db",
            ) from None
        study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(study.trials), n_startup_trials=5)
        return study


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna logs each trial; the progress bar says it better."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _objectives(plan: Plan) -> tuple[float, float, float]:
    """Latency (s, low), score (high), accuracy drop (low); what was not measured counts as the worst."""
    latency, score, drop = (plan.predicted[key].value for key in ("latency", "score", "accuracy_drop"))
    return (
        1e6 if math.isnan(latency) else latency,
        0.0 if math.isnan(score) else score,
        1.0 if math.isnan(drop) else drop,
    )


def _missed(plan: Plan, limits: LeakageLimits) -> dict[str, float]:
    """Budget or limit -> by how much it is missed, 0 where it is met, 1 where that could not be measured."""
    missed = {**plan.excess, **limits.shortfall(plan)}
    names = ("max_latency", "max_accuracy_drop", "max_edge_memory", "min_nmse", "max_ssim")
    return {name: 1.0 if math.isnan(missed.get(name, 0.0)) else missed.get(name, 0.0) for name in names}


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value, "stderr": estimate.stderr, "low": estimate.low, "high": estimate.high,
        "unit": estimate.unit, "source": estimate.source, "method": estimate.method,
    }  # fmt: skip
