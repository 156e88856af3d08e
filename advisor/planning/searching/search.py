"""The stage of the search: payload defenses at every cut, then fits at a few. On a storage it is resumed and shared."""

from __future__ import annotations

import dataclasses
import time

from advisor import requirements
from advisor.errors import AdvisorError, InterruptedRunError
from advisor.estimators.study.leakage_study import LeakageStudy
from advisor.estimators.study.zone import ZoneThresholds
from advisor.planning.evaluating.leakage_limits import LeakageLimits, limits_of
from advisor.planning.fits.defense_fits import FitResult, Fits, fit_folder, roles_of
from advisor.planning.preparing.wanted_defenses import wanted_defenses
from advisor.planning.searching.growing_samples import in_whole, shown_plans
from advisor.planning.searching.rounds import Search, SearchResult
from advisor.planning.selecting.selection import with_excess
from advisor.planning.shared_study.fitted_store import store_of
from advisor.planning.stages import Measured, Searched, Step
from advisor.plans import Plan
from advisor.progress import RunListener
from advisor.request import Request


def search(request: Request, measured: Measured, progress: RunListener | None = None) -> Searched:
    """The stage: every undefended cut, and as many defended plans as were asked for. Ctrl-C keeps what was priced.

    Raises:
        InterruptedRunError: on Ctrl-C before anything was priced; with the cost columns.
    """
    wanted, result, started = request.search, None, time.monotonic()
    limits = leakage_limits(request, measured.evaluator.study)
    asked = wanted_defenses(wanted.defenses)
    trials = Search(
        measured.evaluator, request.requirements, limits, asked.payload, measured.time.trials or wanted.count,
        measured.time.until("search"), measured.study, wanted.seed,
    )  # fmt: skip
    now = Step("search", progress)
    try:
        with now.timed():
            result = trials.run(now)
            if not result.interrupted:
                result = SearchResult(_shown_in_whole(request, measured, limits, result.plans))
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


def _shown_in_whole(
    request: Request, measured: Measured, limits: LeakageLimits, plans: tuple[Plan, ...]
) -> tuple[Plan, ...]:
    """The plans, what would be shown of them with the accuracy of all samples."""
    budgets, zone = request.requirements, measured.evaluator.study.zone.cuts
    return in_whole(
        plans, lambda every: shown_plans(every, (), zone, budgets, limits, True), measured.evaluator,
        lambda plan: with_excess(plan, budgets, limits), measured.time.until("search"),
    )  # fmt: skip


def fit(
    request: Request, searched: Searched, methods: tuple[str, ...], seconds: float | None, progress: RunListener | None
) -> Searched:
    """The same with plans of fitted defenses. Ctrl-C keeps those that were priced."""
    measured, now = searched.measured, Step("fit", progress)
    training, validation = roles_of(measured.prepared)
    fits = Fits(
        measured.evaluator, request, searched.limits, methods, training, validation, fit_folder(request), seconds,
        measured.study, store_of(request), measured.before,
    )  # fmt: skip
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
