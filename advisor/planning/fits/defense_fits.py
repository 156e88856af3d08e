"""Fits of a recommendation: a short one at each of the few cuts that the budgets allow, the best of them to the end."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advisor.cuts import Cut
from advisor.data.samples import Samples
from advisor.defenses import NoDefense
from advisor.defenses.methods import METHODS
from advisor.defenses.training.defending import FEWEST, defend, known_as
from advisor.defenses.training.fitted_files import variant_digest
from advisor.errors import AdvisorError, DataError
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.fits import fit_schedule as schedule
from advisor.planning.fits.earlier_fits import taken_from
from advisor.planning.fits.fit_recipes import fit_digest, fitted_of, message_bytes, noise_range, recipe_at
from advisor.planning.fits.fit_schedule import Allowance, Pair
from advisor.planning.fits.variant_pricing import VariantEvaluator, of_fit
from advisor.planning.selection import LeakageLimits, nearest_first, with_excess
from advisor.planning.shared_study.fitted_store import FittedStore
from advisor.planning.shared_study.results import Task, digest_of, strange
from advisor.planning.shared_study.study_storage import attack_folder
from advisor.planning.stages import Prepared
from advisor.plans import Advice, Plan
from advisor.profilers import transfer_time
from advisor.progress import StepProgress
from advisor.request import Request
from advisor.safe_text import one_line
from advisor.units import show_duration

SLACK = 0.05
"""A short fit is judged at the noise at which its accuracy drop is so much above the budget: it is not over."""

HEAD = "local-head"
"""The method that makes a head that answers on the edge alone."""

BISECTIONS = 5
FIT_SHARE = 0.7
"""Of the progress of one fit; the rest are the attacks that price it."""

PRICED_AT = ("max_accuracy_drop", "min_nmse", "max_ssim")
"""What a fit changes: a cut that misses another budget is not fitted at."""


class OutOfTimeError(Exception):
    """The time for fits is over in the middle of one."""


def unheard(share: float, what: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Fit:
    """One fit of a recommendation.

    Attributes:
        pair: a method at a cut.
        short: whether it only tells which are worth a full one.
        identity: what it is known by.
        task: does it, here or by another worker of the study.
    """

    pair: Pair
    short: bool
    identity: str
    task: Task


@dataclass(frozen=True)
class FitResult:
    """Plans of every fit, what was said, heads that answer on the edge alone, and whether the user stopped the fits."""

    plans: tuple[Plan, ...]
    notes: tuple[str, ...] = ()
    heads: tuple[Plan, ...] = ()
    interrupted: bool = False


@dataclass(eq=False)
class Fits:
    """The fits of one recommendation.

    Attributes:
        evaluator: prices plans of the model itself.
        request: what is wanted.
        limits: what a plan may leak.
        methods: names of the methods to try.
        training, validation: samples to fit to, and to stop by.
        folder: where a killed run keeps what it goes on from, or None.
        seconds: after which no fit goes on; None: only the effort bounds them.
        study: name of the study on a storage; "" in memory.
        store: where fitted weights are shared with its other workers.
        earlier: advice about the same graph, samples and seed: what it has fitted is not fitted again.
    """

    evaluator: PlanEvaluator
    request: Request
    limits: LeakageLimits
    methods: tuple[str, ...]
    training: Samples
    validation: Samples | None = None
    folder: Path | None = None
    seconds: float | None = None
    study: str = ""
    store: FittedStore | None = None
    earlier: Advice | None = None
    plans: list[Plan] = field(default_factory=list, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    heads: list[Plan] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._started = time.monotonic()

    def run(self, progress: StepProgress) -> FitResult:
        """Fit, price, choose, fit to the end. Ctrl-C and the end of the time keep what was priced."""
        pairs = self.pairs()
        if not pairs:
            return FitResult((), ("No cut has floating-point numbers to encode: nothing was fitted.",))
        allowance = self._allowance(len(pairs))
        self.notes.append(said_before(pairs, allowance))
        progress(0.0, self.notes[-1])
        try:
            self._fit(pairs, allowance, progress)
        except OutOfTimeError:
            self.notes.append("The time for fits was over before all of them were: see --timeout and --effort.")
        except KeyboardInterrupt:
            return FitResult(tuple(self.plans), tuple(self.notes), tuple(self.heads), interrupted=True)
        return FitResult(tuple(self.plans), tuple(self.notes), tuple(self.heads))

    # ---- what to fit ---------------------------------------------------------------------------------------------

    def pairs(self) -> list[Pair]:
        """Every method at each of the few cuts whose costs the budgets allow, by depth."""
        found = []
        for name in (name for name in self.methods if name != HEAD):
            method = METHODS.find(name)
            priced = [(self._missed(cut, recipe), cut, recipe) for cut, recipe in self._places(name)]
            least = min((missed for missed, _, _ in priced), default=0.0)
            allowed = {cut.index: (cut, recipe) for missed, cut, recipe in priced if missed <= least}
            chosen = schedule.spread_over_depth([cut for cut, _ in allowed.values()], schedule.MOST_CUTS)
            found += [Pair(cut, name, allowed[cut.index][1]) for cut in chosen]
            if "labels" in method.needs and self.training.labels is None:
                raise DataError(f"The defense {name!r} learns from labels, and the data have none.", "Pass labels.")
        return sorted(found, key=lambda pair: pair.cut.index)

    def _places(self, name: str) -> list[tuple[Cut, dict[str, Any]]]:
        cuts = [cut for cut in self.evaluator.candidates if any(t.is_floating for t in cut.tensors)]
        if not self.evaluator.only and any(cut.block for cut in cuts):  # where blocks end, and the last of all
            cuts = [cut for cut in cuts if cut.block or cut is cuts[-1]]
        return [(cut, recipe_at(name, cut, self.request.search.recipe)) for cut in cuts]

    def _missed(self, cut: Cut, recipe: dict[str, Any]) -> float:
        """How far the cost budgets are missed at a cut, relative to each; before anything is fitted."""
        predicted = self.evaluator.costs(cut, NoDefense(), self.evaluator.tail)
        answer = (self.evaluator.tail or self.evaluator.graph.cuts[-1]).message_bytes
        link = transfer_time(self.evaluator.link, message_bytes(cut, recipe), answer, self.evaluator.device.copy_rate)
        saved = link.value - predicted["link_latency"].value
        predicted["latency"] = predicted["latency"].mapped(lambda v: max(0.0, v + saved), "before a fit")
        over = self.request.requirements.excess(predicted)
        limits = self.request.requirements.limits
        return sum(
            math.inf if math.isnan(missed) else missed / max(limits[name], 1e-12)
            for name, missed in over.items() if name not in PRICED_AT
        )  # fmt: skip

    def _allowance(self, pairs: int) -> Allowance:
        effort = self.request.search.effort
        seconds = schedule.SECONDS[effort] if self.seconds is None else min(self.seconds, schedule.SECONDS[effort])
        step = schedule.STEP_FORWARDS * schedule.forward_seconds(self.evaluator.graph, self._inputs)
        finalists = min(pairs, schedule.FINALISTS[effort])
        own = [seconds, schedule.rounded_up(step)]
        task = Task("allowance", digest_of(self.study, self.methods), lambda: own)
        agreed = self.evaluator.results.one(task) if self.study else own  # what the first worker may, all do
        if not (isinstance(agreed, list) and len(agreed) == 2 and all(_positive(number) for number in agreed)):
            raise strange(task, ValueError("it is no time for fits"))
        return Allowance(agreed[0], agreed[1], pairs, finalists, schedule.LEVELS[effort])

    # ---- fits ----------------------------------------------------------------------------------------------------

    def _fit(self, pairs: Sequence[Pair], allowance: Allowance, progress: StepProgress) -> None:
        """Each short fit, then the best to their ends."""
        parts = len(pairs) + 3 * allowance.finalists if len(pairs) > 1 else 1
        best = list(pairs)
        if len(pairs) > 1:
            if self.evaluator.results.shared:  # so that they spread before the first is priced
                self.evaluator.results.all([self._short_fit(pair, allowance).task for pair in pairs])
            short: list[tuple[Plan, Pair]] = []
            for number, pair in enumerate(pairs):
                plan = self._short(pair, allowance, _part(progress, number, 1, parts))
                if plan is not None:
                    short.append((plan, pair))
                    self.plans.append(plan)
            order = nearest_first([plan for plan, _ in short], self.request.requirements, self.limits)
            ranked = [next(pair for known, pair in short if known is plan) for plan in order]
            best = finalists(ranked, allowance.finalists)
        for number, pair in enumerate(best):
            told = progress if len(pairs) == 1 else _part(progress, len(pairs) + 3 * number, 3, parts)
            self.plans += self._finished(pair, allowance, told)
        if self.plans and self.evaluator.tail is None:
            self.heads += self._head(best[0].cut, allowance)

    def _short(self, pair: Pair, allowance: Allowance, progress: StepProgress) -> Plan | None:
        """The plan of a short fit at the noise that accuracy stands, or a little more; None where it failed."""
        priced = self._fitted(self._short_fit(pair, allowance, progress))
        if priced is None:
            return None
        low, high = noise_range(priced.fitted)
        allowed = self.request.requirements.max_accuracy_drop
        level = (low + high) / 2 if allowed is None else priced.most_noise(allowed + SLACK, low, high, 3)
        return self._priced(priced, [level], progress)[0]

    def _short_fit(self, pair: Pair, allowance: Allowance, progress: StepProgress = unheard) -> Fit:
        batch = self._batch(pair)
        steps = allowance.short_steps(self._trained(pair), batch)
        count = min(len(self.training), steps * batch)
        return self._fit_of(pair, max(1, round(steps * batch / count)), count, progress, short=True)

    def _finished(self, pair: Pair, allowance: Allowance, progress: StepProgress) -> list[Plan]:
        """A fit to its end, priced along its curve."""
        batch, count = self._batch(pair), len(self.training)
        steps, wanted = allowance.steps(self._trained(pair), batch), int(self._recipe(pair).get("epochs", 1))
        epochs = max(1, min(wanted, steps * batch // count))
        fewer = min(count, max(FEWEST, steps * batch // epochs))
        priced = self._fitted(self._fit_of(pair, epochs, fewer, progress, short=False))
        if priced is None:
            return []
        if epochs < wanted or fewer < count:
            self.notes.append(
                f"{pair} was fitted for {epochs} of {wanted} epochs over {fewer:,} of {count:,} samples, as the time "
                "allowed; `advisor defend` fits it longer."
            )
        return self._priced(priced, self._levels(priced, allowance.levels), progress)

    def _head(self, cut: Cut, allowance: Allowance) -> list[Plan]:
        """A head at the same edge work, that answers alone: what the split has to beat."""
        pair = Pair(cut, HEAD, {})
        batch = self._batch(pair)
        steps = allowance.short_steps(1.0, batch)
        count = min(len(self.training), steps * batch)
        fit = self._fit_of(pair, max(1, round(steps * batch / count)), count, unheard, short=False)
        priced = self._fitted(fit)
        return [] if priced is None else [priced.alone()]

    def _levels(self, priced: VariantEvaluator, count: int) -> list[float]:
        """Levels of noise to price: over the range of the fit, and the most that the accuracy budget stands."""
        low, high = noise_range(priced.fitted)
        levels = schedule.levels_between(low, high, count) if high > 0 else [0.0]
        allowed = self.request.requirements.max_accuracy_drop
        if allowed is not None and high > 0:
            levels.append(priced.most_noise(allowed, 0.0, high, BISECTIONS))
        return sorted(set(levels))

    def _fit_of(self, pair: Pair, epochs: int, count: int, progress: StepProgress, short: bool) -> Fit:
        """One fit, as a task that one worker of the study does."""
        method, seed = METHODS.find(pair.method), self.request.search.seed
        recipe: dict[str, Any] = {**pair.recipe, **({"epochs": epochs} if "epochs" in method.settings else {})}
        part = self.training.take(torch.arange(count))
        identity = fit_digest(self.evaluator.graph, pair, recipe, part, seed)

        def tell(share: float) -> None:
            progress(FIT_SHARE * share, f"{'short ' if short else ''}fit: {pair}")
            if self.seconds is not None and time.monotonic() - self._started > self.seconds:
                raise OutOfTimeError

        def compute() -> dict[str, Any]:
            started, graph = time.monotonic(), self.evaluator.graph
            given = (
                graph, pair.cut, method, part.x, part.labels if "labels" in method.needs else None,
                None if self.validation is None else self.validation.x, self._tail, seed,
            )  # fmt: skip
            try:
                kept = taken_from(self.earlier, graph, known_as(*given, **recipe))
                variant = defend(*given, self._folder(identity), tell, **recipe) if kept is None else kept[0]
            except AdvisorError as error:
                return {"problem": error.problem}
            if kept is not None:
                self.notes.append(f"{pair} was fitted for the earlier advice, and is taken from there.")
            self.evaluator.results.held[identity] = variant
            digest = variant_digest(variant) if self.store is None else self.store.keep(variant)
            return {"digest": digest, "seconds": time.monotonic() - started if kept is None else kept[1]}

        held = None if self.validation is None else self.validation.fingerprint
        told = digest_of(version("partition-advisor"), identity, self._tail, held)
        return Fit(pair, short, identity, Task("fit", told, compute))

    def _folder(self, identity: str) -> Path | None:
        return None if self.folder is None else self.folder / identity[:16]

    def _fitted(self, fit: Fit) -> VariantEvaluator | None:
        """What prices a fit, done here or by another worker; None, and a note, where it failed."""
        found = self.evaluator.results.one(fit.task)
        if isinstance(found, dict) and isinstance(found.get("problem"), str):
            self.notes.append(f"{fit.pair} was not fitted: {one_line(found['problem'])}")
            return None
        if not (isinstance(found, dict) and _is_hash(found.get("digest")) and _positive(found.get("seconds"))):
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
        return of_fit(self.evaluator, variant, fitted_of(variant, found["seconds"], fit.short))

    def _priced(self, priced: VariantEvaluator, levels: Sequence[float], progress: StepProgress) -> list[Plan]:
        def tell(share: float) -> None:
            progress(FIT_SHARE + (1 - FIT_SHARE) * share, f"attacking {priced.fitted.method} at {priced.fitted.at}")

        tell(0.0)
        return [with_excess(plan, self.request.requirements, self.limits) for plan in priced.plans(levels, tell)]

    def _recipe(self, pair: Pair) -> dict[str, Any]:
        return METHODS.find(pair.method).complete(pair.recipe)

    def _batch(self, pair: Pair) -> int:
        return int(self._recipe(pair).get("batch", 128))

    @property
    def _tail(self) -> str | None:
        return None if self.evaluator.tail is None else self.evaluator.tail.name

    def _trained(self, pair: Pair) -> float:
        """Share of the model's multiply-adds that a step runs: the cloud half alone where the edge is fixed."""
        macs = self.evaluator.profile["macs"]
        whole, edge = float(macs.values[-1]), float(macs.at(pair.cut).value)
        tuned = self._recipe(pair).get("tuned", "all")
        return 1.0 if tuned == "all" or not whole > 0 else 1 - edge / whole

    @property
    def _inputs(self) -> tuple[Tensor, ...]:
        return self.evaluator.graph.flat(self.training.x)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def roles_of(prepared: Prepared) -> tuple[Samples, Samples | None]:
    """Training and validation samples of a run.

    Raises:
        DataError: when there are too few to fit anything.
    """
    training = prepared.roles["training"]
    if len(training) < FEWEST:
        raise DataError(f"{len(training)} training samples are too few to fit a defense.", "Pass --train-data.")
    return training, prepared.roles["validation"]


def finalists(ranked: Sequence[Pair], count: int) -> list[Pair]:
    """The best of each method first, then the rest: what a short fit shows of one method says little of another.

    A method that only tunes is nearly done after a hundred steps; one with an encoder has just begun.
    """
    first = list({pair.method: pair for pair in reversed(ranked)}.values())[::-1]
    first.sort(key=ranked.index)
    return [*first, *(pair for pair in ranked if pair not in first)][:count]


def fit_folder(request: Request) -> Path | None:
    """Where killed fits go on from: in the run's own folder, else beside the attacks of a stored study."""
    out = request.output.out
    if isinstance(out, str | Path):
        return Path(out) / "fits"
    return attack_folder(request.search.storage)


def said_before(pairs: Sequence[Pair], allowance: Allowance) -> str:
    """What will be fitted, and how long that takes at most."""
    most = show_duration(allowance.seconds)
    if len(pairs) == 1:
        return f"{pairs[0]} is fitted: at most about {most}, with the attacks that price it."
    cuts = len({pair.cut.index for pair in pairs})
    return (
        f"{len(pairs)} short fits at {cuts} cuts, then the best {allowance.finalists} to the end: "
        f"at most about {most}, with the attacks that price them."
    )


def _part(progress: StepProgress, done: int, weight: int, parts: int) -> StepProgress:
    """Progress of a part of all."""
    return lambda share, what: progress((done + weight * share) / parts, what)
