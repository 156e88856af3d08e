"""Fits of a recommendation: a short one at each of the few cuts that the budgets allow, the best of them to the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from advisor.cuts import Cut
from advisor.data.samples import Samples
from advisor.defenses.methods import METHODS
from advisor.defenses.training.defending import FEWEST
from advisor.errors import DataError
from advisor.planning.fits import fit_schedule as schedule
from advisor.planning.fits.finalists import finalists
from advisor.planning.fits.fit_places import HEAD
from advisor.planning.fits.fit_recipes import noise_range
from advisor.planning.fits.fit_schedule import Allowance, Pair
from advisor.planning.fits.fit_tasks import Fit, FitTasks, OutOfTimeError, is_positive
from advisor.planning.fits.variant_pricing import VariantEvaluator
from advisor.planning.shared_study.results import Task, digest_of, strange
from advisor.planning.shared_study.study_storage import attack_folder
from advisor.planning.stages import Prepared
from advisor.planning.timing.fit_times import FIT_SECONDS, STEP_FORWARDS
from advisor.plans import Plan
from advisor.progress import Progress, part, silence
from advisor.request import Request
from advisor.units import show_duration

SLACK = 0.05
"""A short fit is judged at the noise at which its accuracy drop is so much above the budget: it is not over."""


@dataclass(frozen=True)
class FitResult:
    """Plans of every fit, what was said, heads that answer on the edge alone, and whether the user stopped the fits."""

    plans: tuple[Plan, ...]
    notes: tuple[str, ...] = ()
    heads: tuple[Plan, ...] = ()
    interrupted: bool = False


@dataclass(eq=False)
class Fits(FitTasks):
    """The fits of one recommendation."""

    def run(self, progress: Progress) -> FitResult:
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

    def _allowance(self, pairs: int) -> Allowance:
        effort = self.request.search.effort
        seconds = FIT_SECONDS[effort] if self.seconds is None else min(self.seconds, FIT_SECONDS[effort])
        step = STEP_FORWARDS * schedule.forward_seconds(self.evaluator.graph, self._inputs)
        finalists = min(pairs, schedule.FINALISTS[effort])
        own = [seconds, schedule.rounded_up(step)]
        task = Task("allowance", digest_of(self.study, self.methods), lambda: own)
        agreed = self.evaluator.results.one(task) if self.study else own  # what the first worker may, all do
        if not (isinstance(agreed, list) and len(agreed) == 2 and all(is_positive(number) for number in agreed)):
            raise strange(task, ValueError("it is no time for fits"))
        return Allowance(agreed[0], agreed[1], pairs, finalists, schedule.LEVELS[effort])

    def _fit(self, pairs: Sequence[Pair], allowance: Allowance, progress: Progress) -> None:
        """Each short fit, then the best to their ends."""
        parts = len(pairs) + 3 * allowance.finalists if len(pairs) > 1 else 1
        best = list(pairs)
        if len(pairs) > 1:
            if self.evaluator.results.shared:  # so that they spread before the first is priced
                self.evaluator.results.all([self._short_fit(pair, allowance).task for pair in pairs])
            short: list[tuple[Plan, Pair]] = []
            for number, pair in enumerate(pairs):
                plan = self._short(pair, allowance, part(progress, number / parts, 1 / parts))
                if plan is not None:
                    short.append((plan, pair))
                    self.plans.append(plan)
            best = finalists(short, self.request.requirements, self.limits, allowance.finalists)
        for number, pair in enumerate(best):
            told = progress if len(pairs) == 1 else part(progress, (len(pairs) + 3 * number) / parts, 3 / parts)
            self.plans += self._finished(pair, allowance, told)
        if self.plans and self.evaluator.tail is None:
            self.heads += self._head(best[0].cut, allowance)

    def _short(self, pair: Pair, allowance: Allowance, progress: Progress) -> Plan | None:
        """The plan of a short fit at the noise that accuracy stands, or a little more; None where it failed."""
        priced = self._fitted(self._short_fit(pair, allowance, progress))
        if priced is None:
            return None
        low, high = noise_range(priced.fitted)
        allowed = self.request.requirements.max_accuracy_drop
        level = (low + high) / 2 if allowed is None else priced.most_noise(allowed + SLACK, low, high, 3)
        return self._priced(priced, [level], progress)[0]

    def _short_fit(self, pair: Pair, allowance: Allowance, progress: Progress = silence) -> Fit:
        batch = self._batch(pair)
        steps = allowance.short_steps(self._trained(pair), batch)
        count = min(len(self.training), steps * batch)
        epochs = max(1, min(round(steps * batch / count), self._epochs(pair)))
        return self._fit_of(pair, epochs, count, progress, short=self._is_short(pair, epochs, count))

    def _finished(self, pair: Pair, allowance: Allowance, progress: Progress) -> list[Plan]:
        """A fit to its end, priced along its curve."""
        whole = 1 - schedule.EASED_SHARE if self._may_be_eased(pair) else 1.0
        epochs, fewer = self._length(pair, allowance, whole, self._epochs(pair))
        priced = self._fitted(self._fit_of(pair, epochs, fewer, progress, short=False))
        if priced is None:
            return []
        if self._may_be_eased(pair):
            priced = self._eased(pair, priced, allowance, progress)
        self._say_how_long(pair, epochs, fewer)
        return self._priced(priced, self._levels(priced, allowance.levels), progress)

    def _epochs(self, pair: Pair) -> int:
        return METHODS.find(pair.method).epochs(self._recipe(pair), len(self.training))

    def _length(self, pair: Pair, allowance: Allowance, share: float, wanted: int) -> tuple[int, int]:
        """Epochs, at most those wanted, and samples of each, that fit into a share of the time of a fit to the end."""
        batch, count = self._batch(pair), len(self.training)
        steps = max(schedule.FEWEST_STEPS, int(share * allowance.steps(self._trained(pair), batch)))
        epochs = max(1, min(wanted, steps * batch // count))
        return epochs, min(count, max(FEWEST, steps * batch // epochs))

    def _may_be_eased(self, pair: Pair) -> bool:
        """Whether the privacy term has a weight that the user left open, and accuracy a budget to miss."""
        is_open = "weight" in self._recipe(pair) and "weight" not in pair.recipe
        return is_open and self.request.requirements.max_accuracy_drop is not None

    def _eased(
        self, pair: Pair, priced: VariantEvaluator, allowance: Allowance, progress: Progress
    ) -> VariantEvaluator:
        """A fit that loses more than the budget at its least noise goes on, its privacy weighed less."""
        allowed, lost = self.request.requirements.max_accuracy_drop, priced.drop(noise_range(priced.fitted)[0])
        if allowed is None or not lost > allowed:
            return priced
        recipe = self._recipe(pair)
        weight = float(recipe["weight"]) * max(schedule.LEAST_EASED, (allowed / lost) ** 2)
        fewer_epochs = max(1, round(schedule.EASED_SHARE * self._epochs(pair)))
        epochs, count = self._length(pair, allowance, schedule.EASED_SHARE, fewer_epochs)
        eased = dataclasses.replace(pair, recipe={**pair.recipe, "weight": weight})
        gone_on = self._fitted(self._fit_of(eased, epochs, count, progress, short=False, start=priced))
        self.notes.append(
            f"{pair} lost {100 * lost:.2f} points where {100 * allowed:.2f} are allowed; it was fitted further, with "
            f"weight {weight:.2g} instead of {float(recipe['weight']):.2g}."
        )
        return priced if gone_on is None else gone_on

    def _head(self, cut: Cut, allowance: Allowance) -> list[Plan]:
        """A head at the same edge work, that answers alone: what the split has to beat."""
        pair = Pair(cut, HEAD, {})
        batch = self._batch(pair)
        steps = allowance.short_steps(1.0, batch)
        count = min(len(self.training), steps * batch)
        epochs = max(1, min(round(steps * batch / count), self._epochs(pair)))
        short = self._is_short(pair, epochs, count)
        priced = self._fitted(self._fit_of(pair, epochs, count, silence, short))
        if priced is None:
            return []
        self._say_how_long(pair, epochs, count)
        return [priced.alone()]

    def _is_short(self, pair: Pair, epochs: int, samples: int) -> bool:
        """Whether a fit stops before the end of its recipe."""
        return epochs < self._epochs(pair) or samples < len(self.training)

    def _say_how_long(self, pair: Pair, epochs: int, samples: int) -> None:
        """Note a fit that stops before the end of its recipe."""
        if self._is_short(pair, epochs, samples):
            self.notes.append(
                f"{pair} was fitted for {epochs} of {self._epochs(pair)} epochs over {samples:,} of "
                f"{len(self.training):,} samples, as the time allowed; `advisor defend` fits it longer."
            )


def roles_of(prepared: Prepared) -> tuple[Samples, Samples | None]:
    """Training and validation samples of a run.

    Raises:
        DataError: when there are too few to fit anything.
    """
    training = prepared.roles["training"]
    if len(training) < FEWEST:
        raise DataError(f"{len(training)} training samples are too few to fit a defense.", "Pass --train-data.")
    return training, prepared.roles["validation"]


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
