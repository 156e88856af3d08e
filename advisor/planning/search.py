"""The search over cut × defense with Optuna, its only home. A study on a storage can be killed and resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from advisor import requirements
from advisor.cuts import Cut
from advisor.defenses import DEFENSES, Defense, NoDefense, defense_from_json, defense_to_json
from advisor.errors import AdvisorError, InterruptedRunError
from advisor.estimate import Estimate
from advisor.estimators.study.leakage_study import LeakageStudy
from advisor.estimators.study.zone import ZoneThresholds
from advisor.planning.defense_fits import FitResult, Fits, fit_folder, roles_of
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.selection import LeakageLimits, limits_of, with_excess
from advisor.planning.stages import Measured, Searched, Step
from advisor.planning.study_storage import known_trials, open_storage, quiet, strange_trial, try_once, understood
from advisor.planning.wanted_defenses import wanted_defenses
from advisor.planning.warm_start import WarmStart
from advisor.plans import Plan
from advisor.progress import Progress, StepProgress
from advisor.request import Request
from advisor.requirements import REQUIREMENTS, Budgets, front

FIRST_SHARE = 0.5
"""Share of the trials that start from what the noise curves suggest; the rest close in on the most noise that accuracy
stands. Where a plan meets everything, the sampler has every second of those; where no cut can gain any more, all."""

ASKED_AT_MOST = 3
"""Trials asked for, each that is wanted: where little is left to try, the sampler repeats itself."""


@dataclass(frozen=True)
class SearchResult:
    """Every plan that was priced, and whether the user stopped the search."""

    plans: tuple[Plan, ...]
    interrupted: bool = False


@dataclass(frozen=True)
class Search:
    """What to search.

    Attributes:
        evaluator: prices plans.
        budgets, limits: what a plan must meet.
        defenses: names of the defenses to try.
        trials: defended plans to price; undefended ones are all priced and not counted.
        until: `time.monotonic()` after which no new trial starts; infinity for none.
        storage: where the study is kept, or None to keep it in memory.
        identity: what the study is about; a study on a storage is resumed only for the same.
        seed: of the sampler.
    """

    evaluator: PlanEvaluator
    budgets: Budgets
    limits: LeakageLimits
    defenses: tuple[str, ...]
    trials: int
    until: float
    storage: BaseStorage | None
    identity: dict[str, Any]
    seed: int

    def run(self, progress: StepProgress | None = None) -> SearchResult:
        """Price every undefended cut, then spend the trials on defended ones."""
        bare: list[Plan] = []
        names = [name for name in self.defenses if name != NoDefense.name]
        try:
            bare.extend(self._evaluated(cut, NoDefense()) for cut in self.evaluator.candidates)
            if not bare or not names or self.trials < 1:
                return SearchResult(tuple(bare))
            with quiet(), understood("of the study"):
                found, interrupted = self._tried_all(bare, names, progress)
        except KeyboardInterrupt:
            if not bare:
                raise
            return SearchResult(tuple(bare), interrupted=True)
        return SearchResult((*bare, *found), interrupted)

    def _tried_all(
        self, bare: Sequence[Plan], names: Sequence[str], progress: StepProgress | None
    ) -> tuple[list[Plan], bool]:
        study = self._study()
        plans = {trial.number: plan for trial in known_trials(study) if (plan := self._restored(trial)) is not None}
        suggestions = WarmStart(self.evaluator, self.budgets, self.limits, tuple(names))
        first = [] if plans else suggestions.first(bare, max(1, int(FIRST_SHARE * self.trials)))

        def objective(trial: Trial) -> tuple[float, ...]:
            plan = self._tried(trial, names)
            plans[trial.number] = plan
            if progress:
                progress(min(1.0, len(_unique(plans)) / self.trials), str(plan))
            return _objectives(plan)

        try:
            for number in range(ASKED_AT_MOST * self.trials):
                if len(_unique(plans)) >= self.trials or time.monotonic() >= self.until:
                    break
                asked = first[number] if number < len(first) else None
                if number >= len(first):
                    met = any(p.feasible and not self.limits.shortfall(p) for p in (*bare, *plans.values()))
                    asked = None if met and number % 2 else suggestions.next([*bare, *plans.values()])
                if asked is not None:
                    study.enqueue_trial(asked)
                try_once(study, objective)
        except KeyboardInterrupt:
            return _unique(plans), True
        return _unique(plans), False

    # ---- plans ---------------------------------------------------------------------------------------------------

    def _evaluated(self, cut: Cut, defense: Defense) -> Plan:
        return with_excess(self.evaluator.evaluate(cut, defense), self.budgets, self.limits)

    def _tried(self, trial: Trial, names: Sequence[str]) -> Plan:
        cuts = {cut.name: cut for cut in self.evaluator.candidates}
        cut = cuts[trial.suggest_categorical("cut", list(cuts))]
        name = trial.suggest_categorical("defense", list(names))
        values = {key: span.suggest(trial, f"{name}.{key}") for key, span in DEFENSES.find(name).space.items()}
        plan = self._evaluated(cut, self.defense(cut, name, values))
        predicted = {key: _plain(value) for key, value in plan.predicted.items()}
        trial.set_user_attr("plan", {"cut": cut.name, "defense": defense_to_json(plan.defense), "predicted": predicted})
        for missed, over in _missed(plan, self.limits).items():
            trial.set_constraint(missed, over)
        return plan

    def defense(self, cut: Cut, name: str, values: dict[str, Any]) -> Defense:
        """The defense at one cut from its searched values; none where it cannot be set up there."""
        if cut.undefendable:
            return NoDefense()
        return DEFENSES.find(name).at(self.evaluator.facts(cut), **values) or NoDefense()

    def _restored(self, trial: FrozenTrial) -> Plan | None:
        record = trial.user_attrs.get("plan")
        if trial.state is not TrialState.COMPLETE or record is None:
            return None
        graph = self.evaluator.graph
        try:
            predicted = {key: Estimate(**value) for key, value in record["predicted"].items()}
            cut, defense = graph.cut(record["cut"]), defense_from_json(record["defense"])
            if cut not in self.evaluator.candidates or defense.name not in (*self.defenses, NoDefense.name):
                raise ValueError("another cut or defense than those that are searched")
            return with_excess(self.evaluator.plan(cut, defense, predicted), self.budgets, self.limits)
        except (AdvisorError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise strange_trial(trial.number, error) from None

    # ---- the study -----------------------------------------------------------------------------------------------

    def _study(self) -> Study:
        text = json.dumps(self.identity, sort_keys=True, default=str)
        name = f"advisor-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        study = optuna.create_study(
            storage=self.storage, study_name=name, load_if_exists=True,
            directions=["minimize" if row.minimised else "maximize" for row in front()],
        )  # fmt: skip
        study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(known_trials(study)), n_startup_trials=5)
        return study


def search(request: Request, measured: Measured, progress: Progress | None = None) -> Searched:
    """The stage: every undefended cut, and as many defended plans as were asked for. Ctrl-C keeps what was priced.

    Raises:
        InterruptedRunError: on Ctrl-C before anything was priced; with the cost columns.
    """
    wanted, result, started = request.search, None, time.monotonic()
    limits = leakage_limits(request, measured.evaluator.study)
    asked = wanted_defenses(wanted.defenses)
    names = asked.payload
    trials = Search(
        measured.evaluator, request.requirements, limits, names, measured.time.trials or wanted.count,
        measured.time.until("search"),
        open_storage(wanted.storage), identity(request, measured, names), wanted.seed,
    )  # fmt: skip
    now = Step("search", progress)
    try:
        with now.timed():
            result = trials.run(now)
    except KeyboardInterrupt:
        if result is None:
            raise InterruptedRunError("search", measured.cost) from None
        result = SearchResult(result.plans, interrupted=True)
    searched = Searched(
        measured=measured, plans=result.plans, limits=limits, interrupted="search" if result.interrupted else "",
        seconds=now.seconds,
    )  # fmt: skip
    if not asked.methods or result.interrupted:
        return searched
    begun = measured.time.started or started
    left = None if wanted.timeout is None else max(0.0, wanted.timeout - (time.monotonic() - begun))
    return fit(request, searched, asked.methods, left, progress)


def fit(
    request: Request, searched: Searched, methods: tuple[str, ...], seconds: float | None, progress: Progress | None
) -> Searched:
    """The same with plans of fitted defenses. Ctrl-C keeps those that were priced."""
    measured, now = searched.measured, Step("fit", progress)
    training, validation = roles_of(measured.prepared)
    fits = Fits(
        measured.evaluator, request, searched.limits, methods, training, validation, fit_folder(request), seconds
    )
    try:
        with now.timed():
            result = fits.run(now)
    except KeyboardInterrupt:  # before the first
        result = FitResult(tuple(fits.plans), tuple(fits.notes), interrupted=True)
    alone = not wanted_defenses(request.search.defenses).payload  # nothing but fits was asked for
    if alone and not result.plans and not result.interrupted:
        raise AdvisorError(" ".join(result.notes[1:]) or result.notes[0], "Name another cut, method or recipe.")
    plans = result.plans if alone and result.plans else (*searched.plans, *result.plans)
    return dataclasses.replace(
        searched, plans=plans, heads=result.heads, notes=(*searched.notes, *result.notes),
        interrupted="fit" if result.interrupted else "", seconds={**searched.seconds, **now.seconds},
    )  # fmt: skip


def leakage_limits(request: Request, found: LeakageStudy) -> LeakageLimits:
    """The user's leakage budget, else the zone's thresholds; SSIM has no say where inputs are no images."""
    zone = (request.search.thresholds or ZoneThresholds()).limits(found.baseline_ssim)
    return limits_of(
        request.requirements, zone, requirements.objective(request.search.objective), request.search.confidence
    )


def identity(request: Request, measured: Measured, names: tuple[str, ...]) -> dict[str, Any]:
    """What a stored search is about; anything else starts a new one."""
    evaluator, target = measured.evaluator, request.target
    return {
        "model": evaluator.graph.digest,
        "cuts": [cut.name for cut in evaluator.graph.cuts],
        "data": measured.prepared.roles.fingerprints,
        "budgets": request.requirements.to_json(),
        "defenses": names,
        "setting": (target.device, target.link, target.cloud),
        "tail": None if evaluator.tail is None else evaluator.tail.name,
        "seed": evaluator.seed,
    }


def _unique(plans: dict[int, Plan]) -> list[Plan]:
    """The plans of the trials, without those that came twice."""
    return list({(plan.cut.index, str(plan.defense)): plan for plan in plans.values()}.values())


def _objectives(plan: Plan) -> tuple[float, ...]:
    """What the front weighs: latency (s, low), score (high), accuracy drop (low); not measured counts as the worst."""
    values = [(plan.predicted[row.measurement].value, row.worst) for row in front()]
    return tuple(worst if math.isnan(value) else value for value, worst in values)


def _missed(plan: Plan, limits: LeakageLimits) -> dict[str, float]:
    """Requirement -> by how much it is missed, 0 where it is met, 1 where that could not be measured."""
    missed = {**plan.excess, **limits.shortfall(plan)}
    return {name: 1.0 if math.isnan(missed.get(name, 0.0)) else missed.get(name, 0.0) for name in REQUIREMENTS}


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value, "stderr": estimate.stderr, "low": estimate.low, "high": estimate.high,
        "unit": estimate.unit, "source": estimate.source, "method": estimate.method,
    }  # fmt: skip
