"""The search over cut × defense, in rounds: each is sampled from the finished ones alone.

Which trials a round has does not hang on who finished first, nor on how many workers there are: samplers are seeded by
the trial's number, results are told in the order of the numbers, and what one worker sampled is what all try.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.storages import BaseStorage

from advisor.cuts import Cut
from advisor.defenses import DEFENSES, Defense, NoDefense
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.searching.growing_samples import undecided
from advisor.planning.searching.promising_trials import promising
from advisor.planning.searching.study_books import Books, Values
from advisor.planning.searching.warm_start import WarmStart
from advisor.planning.selecting.selection import with_excess
from advisor.planning.shared_study.results import Results, Task, digest_of, strange
from advisor.plans import Plan
from advisor.progress import Progress, silence
from advisor.requirements import Budgets

FIRST_SHARE = 0.5
"""Share of the trials that start from what the noise curves suggest; the rest close in on the most noise that accuracy
stands. Where a plan meets everything, the sampler has half of those; where no cut can gain any more, all."""

BETTER_SHARE = 0.5
"""Of the trials of every round, for what costs alone say would be better than the best plan so far."""

ROUNDS = 10
"""After the first round, in which the other trials come."""

FEWEST, MOST = 2, 16
"""Trials of a round."""

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
        evaluator: prices plans; its results may be shared with other workers.
        budgets, limits: what a plan must meet.
        defenses: names of the defenses to try.
        trials: defended plans to price; undefended ones are all priced and not counted.
        until: `time.monotonic()` after which no new trial starts; infinity for none.
        study: name under which the trials are kept on the results' storage.
        seed: of the sampler.
    """

    evaluator: PlanEvaluator
    budgets: Budgets
    limits: LeakageLimits
    defenses: tuple[str, ...]
    trials: int
    until: float = math.inf
    study: str = ""
    seed: int = 0

    def run(self, progress: Progress = silence) -> SearchResult:
        """Price every undefended cut, then spend the trials on defended ones. Ctrl-C keeps what was priced."""
        bare: list[Plan] = []
        names = [name for name in self.defenses if name != NoDefense.name]
        try:
            bare.extend(self._judged(self.evaluator.evaluate(cut, NoDefense())) for cut in self.evaluator.candidates)
        except KeyboardInterrupt:
            if not bare:
                raise
            return SearchResult(tuple(bare), interrupted=True)
        if not bare or not names or self.trials < 1:
            return SearchResult(tuple(bare))
        found: list[Plan] = []
        try:
            self._rounds(bare, names, found, progress)
        except KeyboardInterrupt:
            return SearchResult((*bare, *unique(found)), interrupted=True)
        return SearchResult((*bare, *unique(found)))

    def _rounds(self, bare: Sequence[Plan], names: Sequence[str], found: list[Plan], progress: Progress) -> None:
        books = Books({cut.name: cut for cut in self.evaluator.candidates}, tuple(names), self.seed, self.limits)
        suggestions, number = WarmStart(self.evaluator, self.budgets, self.limits, tuple(names)), 0
        while len(unique(found)) < self.trials and books.count < ASKED_AT_MOST * self.trials and not self._over:
            room = self.trials - len(unique(found))

            def sampled(room: int = room, first: bool = not number) -> list[Values]:
                return books.sampled(*self._wanted(suggestions, bare, found, room, first))

            task = Task("round", digest_of(self.study, self._about, number), sampled)
            asked = self._checked(task, books, self.results.one(task))
            if not self._tried(books, asked, bare, found, progress):
                return
            number += 1
            self.results.one(Task("kept", digest_of(task.digest), lambda: self._kept(books)))

    @property
    def results(self) -> Results:
        """What was computed before."""
        return self.evaluator.results

    @property
    def _about(self) -> list[Any]:
        """What the rounds hang on, where no study's name tells."""
        limits = [self.limits.by_name, self.limits.asked, self.limits.best_in.name, self.limits.confidence]
        return [self.trials, self.budgets.to_json(), limits, self.defenses, self.seed]

    @property
    def _over(self) -> bool:
        return time.monotonic() >= self.until

    def _wanted(
        self, suggestions: WarmStart, bare: Sequence[Plan], found: Sequence[Plan], room: int, first: bool
    ) -> tuple[list[Values], int]:
        """The suggestions of a round, and how many more the sampler is asked for."""
        every = [*bare, *found]
        size = max(1, int(FIRST_SHARE * self.trials)) if first else max(FEWEST, min(MOST, self.trials // ROUNDS))
        size = min(room, size)
        better = promising(suggestions, every, math.ceil(BETTER_SHARE * size))
        left = size - len(better)
        if first and (start := suggestions.first(bare, left) if left else []):
            return merged(better, start), 0
        met = any(plan.feasible and not self.limits.shortfall(plan) for plan in every)
        closer = suggestions.next(every, math.ceil(left / 2) if met else left) if left else []
        return merged(better, closer), left - len(closer)

    def _tried(
        self, books: Books, asked: Sequence[Values], bare: Sequence[Plan], found: list[Plan],
        progress: Progress,
    ) -> bool:  # fmt: skip
        """Price a round; False where the time was up before all of it was. What was priced is kept on Ctrl-C too."""
        pairs = [self._pair(values) for values in asked]
        tasks = {self.evaluator.task(cut, defense).digest: str(defense) for cut, defense in pairs}

        def told(task: Task) -> None:
            if task.digest in tasks:
                done = len(unique([*found, *self._priced(pairs)]))
                progress(min(1.0, done / self.trials), tasks[task.digest])

        wanted = [self.evaluator.task(cut, defense) for cut, defense in pairs if not defense.identity]
        try:
            self.results.all(wanted, self.until, told)
            self._grow(pairs, [*bare, *(plan for plan in found if self.evaluator.is_whole(plan))])
        finally:
            plans = self._priced(pairs)
            found.extend(plans)
        if len(plans) < len(pairs):
            return False
        for values, plan in zip(asked, plans, strict=True):
            books.keep(values, plan)
        return True

    def _grow(self, pairs: Sequence[tuple[Cut, Defense]], whole: Sequence[Plan]) -> None:
        """Measure accuracy on more samples, for those plans of a round of which that may change what they are."""
        budgets, limits, sizes = self.budgets, self.limits, self.evaluator.sizes
        for few, more in itertools.pairwise(sizes):
            known = [(c, d) for c, d in pairs if not d.identity and self.evaluator.measured_on(c, d) == few]
            plans = [self._judged(self.evaluator.evaluate(cut, defense, few)) for cut, defense in known]
            tasks = [
                self.evaluator.accuracy_task(plan.cut, plan.defense, more)
                for plan in plans if undecided(plan, few, whole, budgets, limits)
            ]  # fmt: skip
            self.results.all(tasks, self.until)

    def _priced(self, pairs: Sequence[tuple[Cut, Defense]]) -> list[Plan]:
        """The plans whose price is known, in the order of the trials, each by the most samples so far."""
        rows = [(c, d, self.evaluator.measured_on(c, d)) for c, d in pairs]
        known = [(c, d, n or None) for c, d, n in rows if d.identity or n]
        return [self._judged(self.evaluator.evaluate(cut, defense, n)) for cut, defense, n in known]

    def _judged(self, plan: Plan) -> Plan:
        return with_excess(plan, self.budgets, self.limits)

    def _pair(self, values: Values) -> tuple[Cut, Defense]:
        """The cut and the defense of a trial; none where it cannot be set up there."""
        cut, kind = self.evaluator.graph.cut(values["cut"]), DEFENSES.find(values["defense"])
        own = {name: values[f"{kind.name}.{name}"] for name in kind.space}
        if cut.undefendable:
            return cut, NoDefense()
        return cut, kind.at(self.evaluator.facts(cut), **own) or NoDefense()

    def _checked(self, task: Task, books: Books, asked: Any) -> list[Values]:
        """The trials of a round, which another worker may have written."""
        try:
            return [books.checked(values) for values in list(asked)]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise strange(task, error) from None

    def _kept(self, books: Books) -> int:
        """Write the finished rounds' trials to the study on the storage."""

        def write(storage: BaseStorage) -> None:
            books.write(storage, self.study)

        self.results.guarded(write)
        return books.count


def merged(first: Sequence[Values], then: Sequence[Values]) -> list[Values]:
    """Trials of both, without those that came twice."""
    return [*first, *(values for values in then if values not in first)]


def unique(plans: Sequence[Plan]) -> list[Plan]:
    """The plans of the trials, without those that came twice."""
    return list({(plan.cut.index, str(plan.defense)): plan for plan in plans}.values())
