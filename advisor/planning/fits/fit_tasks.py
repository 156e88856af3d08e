"""One fit: done here, by another worker of the study or for earlier advice, and priced at levels of noise."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from advisor.defenses.methods import METHODS
from advisor.defenses.training.defending import defend, known_as
from advisor.defenses.training.fitted_files import variant_digest
from advisor.errors import AdvisorError
from advisor.planning.fits import fit_schedule as schedule
from advisor.planning.fits.earlier_fits import taken_from
from advisor.planning.fits.fit_places import FitPlaces
from advisor.planning.fits.fit_recipes import fit_digest, fitted_of, noise_range
from advisor.planning.fits.fit_schedule import Pair
from advisor.planning.fits.variant_pricing import VariantEvaluator, of_fit
from advisor.planning.selecting.selection import with_excess
from advisor.planning.shared_study.results import Task, digest_of, strange
from advisor.plans import Plan
from advisor.progress import Progress, part
from advisor.support.safe_text import one_line

BISECTIONS = 5


FIT_SHARE = 0.7
"""Of the progress of one fit; the rest are the attacks that price it."""


class OutOfTimeError(Exception):
    """The time for fits is over in the middle of one."""


@dataclass(frozen=True)
class Fit:
    """One fit of a recommendation.

    Attributes:
        pair: a method at a cut.
        short: whether it only tells which are worth a full one.
        identity: what it is known by.
        task: does it, here or by another worker of the study.
        before: seconds that the fit took which it goes on from.
    """

    pair: Pair
    short: bool
    identity: str
    task: Task
    before: float = 0.0


@dataclass(eq=False)
class FitTasks(FitPlaces):
    """Does and prices single fits."""

    def _fit_of(
        self, pair: Pair, epochs: int, count: int, progress: Progress, short: bool,
        start: VariantEvaluator | None = None,
    ) -> Fit:  # fmt: skip
        """One fit, as a task that one worker of the study does; it goes on from another where `start` is one."""
        method, seed = METHODS.find(pair.method), self.request.search.seed
        recipe: dict[str, Any] = {**pair.recipe, **({"epochs": epochs} if "epochs" in method.settings else {})}
        samples = self.training.take(torch.arange(count))
        begun_with = None if start is None else start.fitted.digest
        identity = fit_digest(self.evaluator.graph, pair, recipe, samples, seed, begun_with)
        fitting = part(progress, 0.0, FIT_SHARE, f"{'short ' if short else ''}fit: {pair}")

        def tell(share: float) -> None:
            fitting(share)
            if self.seconds is not None and time.monotonic() - self._started > self.seconds:
                raise OutOfTimeError

        def compute() -> dict[str, Any]:
            started, graph = time.monotonic(), self.evaluator.graph
            given = (
                graph, pair.cut, method, samples.x, samples.labels if "labels" in method.needs else None,
                None if self.validation is None else self.validation.x, self._tail, seed,
            )  # fmt: skip
            begun = None if start is None else start.variant
            try:
                kept = taken_from(self.earlier, graph, known_as(*given, start=begun, **recipe))
                variant = (
                    defend(*given, self._folder(identity), tell, start=begun, **recipe) if kept is None else kept[0]
                )
            except AdvisorError as error:
                return {"problem": error.problem}
            if kept is not None:
                self.notes.append(f"{pair} was fitted for the earlier advice, and is taken from there.")
            self.evaluator.results.held[identity] = variant
            digest = variant_digest(variant) if self.store is None else self.store.keep(variant)
            return {"digest": digest, "seconds": time.monotonic() - started if kept is None else kept[1]}

        held = None if self.validation is None else self.validation.fingerprint
        told = digest_of(version("partition-advisor"), identity, self._tail, held)
        return Fit(pair, short, identity, Task("fit", told, compute), 0.0 if start is None else start.fitted.seconds)

    def _folder(self, identity: str) -> Path | None:
        return None if self.folder is None else self.folder / identity[:16]

    def _fitted(self, fit: Fit) -> VariantEvaluator | None:
        """What prices a fit, done here or by another worker; None, and a note, where it failed."""
        found = self.evaluator.results.one(fit.task)
        if isinstance(found, dict) and isinstance(found.get("problem"), str):
            self.notes.append(f"{fit.pair} was not fitted: {one_line(found['problem'])}")
            return None
        if not (isinstance(found, dict) and _is_hash(found.get("digest")) and is_positive(found.get("seconds"))):
            raise strange(fit.task, ValueError("it is no fit"))
        held = self.evaluator.results.held
        variant = held.get(fit.identity)
        if variant is None:
            variant = None if self.store is None else self.store.load(found["digest"], self.evaluator.graph)
        if variant is None:
            self.notes.append(f"{fit.pair} was fitted again: its weights are on another machine (see --artifacts).")
            fit.task.compute()
            variant = held[fit.identity]
        held[fit.identity] = variant
        return of_fit(self.evaluator, variant, fitted_of(variant, fit.before + found["seconds"], fit.short))

    def _priced(self, priced: VariantEvaluator, levels: Sequence[float], progress: Progress) -> list[Plan]:
        about = f"attacking {priced.fitted.method} at {priced.fitted.at}"
        attacking = part(progress, FIT_SHARE, 1 - FIT_SHARE, about)
        attacking(0.0)
        return [with_excess(plan, self.request.requirements, self.limits) for plan in priced.plans(levels, attacking)]

    def _levels(self, priced: VariantEvaluator, count: int) -> list[float]:
        """Levels of noise to price: over the range of the fit, and the most that the accuracy budget stands."""
        low, high = noise_range(priced.fitted)
        levels = schedule.levels_between(low, high, count) if high > 0 else [0.0]
        allowed = self.request.requirements.max_accuracy_drop
        if allowed is not None and high > 0:
            levels.append(priced.most_noise(allowed, 0.0, high, BISECTIONS))
        return sorted(set(levels))


def is_positive(value: object) -> bool:
    """Whether a stored value is a finite number above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
