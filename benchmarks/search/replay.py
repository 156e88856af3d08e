"""A search replayed: every plan is priced and attacked by the table, and what that would have cost is counted."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from advisor.cuts import Cut
from advisor.defenses import Defense
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.fits.defense_fits import Fits
from advisor.planning.fits.fit_schedule import Allowance, Pair
from advisor.planning.fits.fit_tasks import Fit
from advisor.planning.fits.variant_pricing import VariantEvaluator
from advisor.planning.shared_study.estimates_as_json import as_json
from advisor.planning.shared_study.results import Results, Task, digest_of
from advisor.plans import Plan
from benchmarks.search.ground_truth import Grid, Key, Table, key_of, short_of

ALLOWANCE = Allowance(seconds=1e6, step=0.1, pairs=1, finalists=2, levels=3)
"""Of a replay: the table has whole fits, whatever they took; as many go on, at as many levels, as `standard` has."""

SAME = 1e-3
"""By which ends of intervals may differ: a table has six digits, machines round apart."""


@dataclass(eq=False)
class Asked:
    """Which rows of a table were asked for.

    Attributes:
        table: of ground truth.
        priced, attacked: rows, in order.
    """

    table: Table
    priced: list[Key] = field(default_factory=list)
    attacked: list[Key] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """Processor's seconds: each row once, and each fit once."""
        rows = {*self.priced, *self.attacked}
        fits = {(cut, defense): self.table[cut, defense, level].fitted for cut, defense, level in rows}
        priced = sum(self.table[key].priced for key in set(self.priced))
        return priced + sum(self.table[key].attacked for key in set(self.attacked)) + sum(fits.values())

    def nearest(self, cut: str, defense: str, level: float) -> Key:
        """The row of a cut and a defense whose level is nearest."""
        known = [key for key in self.table if key[:2] == (cut, defense)]
        return min(known, key=lambda key: abs(math.log(max(key[2], 1e-9) / max(level, 1e-9))))


class PricedByTable(PlanEvaluator):
    """What the evaluators of a replay share."""

    asked: Asked

    def row(self, cut: Cut, defense: Defense) -> Key:
        """The row of the table that a defense counts as."""
        raise NotImplementedError

    @property
    def sizes(self) -> tuple[int, ...]:
        """The table has the accuracy of all samples."""
        return (len(self.rows),)

    def effects(self, cut: Cut, defense: Defense, rows: int | None = None) -> dict[str, Estimate]:
        """What the table has."""
        self.asked.priced.append(self.row(cut, defense))
        return self.asked.table[self.asked.priced[-1]].predicted

    def task(self, cut: Cut, defense: Defense) -> Task:
        """One row."""
        return Task("evaluation", digest_of(self.row(cut, defense)), lambda: as_json(self.effects(cut, defense)))


@dataclass(frozen=True, eq=False)
class ReplayedModel(PricedByTable):
    """Plans without a fit: noise counts as the nearest level."""

    asked: Asked = field(default_factory=lambda: Asked({}))

    def row(self, cut: Cut, defense: Defense) -> Key:
        """By name; noise by its level."""
        return self.asked.nearest(cut.name, defense.name, defense.noise) if defense.noise else key_of(cut, defense)


@dataclass(frozen=True, eq=False)
class ReplayedFit(PricedByTable, VariantEvaluator):
    """Plans of one fit: noise in units of the payload's root mean square counts as the nearest level."""

    asked: Asked = field(default_factory=lambda: Asked({}))

    @property
    def defense(self) -> str:
        """As the table names it."""
        return short_of(self.fitted.method) if self.fitted.short else self.fitted.method

    def row(self, cut: Cut, defense: Defense) -> Key:
        """By the place of the fit."""
        return self.asked.nearest(self.fitted.at, self.defense, defense.noise / self.noise(1.0).noise)

    def drop(self, relative: float) -> float:
        """Of the row."""
        return self.effects(self.payload, self.noise(relative))["accuracy_drop"].value


class Replay:
    """A table that is searched.

    Args:
        grid: its plans.
        table: its rows.

    Raises:
        AdvisorError: where the rows are of other estimators than the grid's.
    """

    def __init__(self, grid: Grid, table: Table) -> None:
        self.grid, self.asked = grid, Asked(table)
        for key, (cut, defense) in grid.plans.items():
            known, now = table[key].found["score"], grid.evaluator.profile["score"].at(cut)
            if defense.identity and abs(known.low - now.low) + abs(known.high - now.high) > SAME:
                problem = f"The table's score at {cut.name} is not what is estimated now."
                raise AdvisorError(problem, "Remove the table and measure it anew.")
        told = {f.name: getattr(grid.evaluator, f.name) for f in dataclasses.fields(PlanEvaluator)}
        self.model = ReplayedModel(**told | {"results": Results()}, asked=self.asked)
        self.fits = {key: self._fit(priced) for key, priced in grid.outlines.items()}

    def _fit(self, priced: VariantEvaluator) -> ReplayedFit:
        told = {f.name: getattr(priced, f.name) for f in dataclasses.fields(VariantEvaluator)}
        return ReplayedFit(**told | {"results": Results(), "base": self.model}, asked=self.asked)

    @property
    def keys(self) -> list[Key]:
        """Plans that may be the answer: a short fit tells only which are worth a whole one."""
        return [key for key in self.asked.table if key[1] != short_of(key[1])]

    def plan(self, key: Key) -> Plan:
        """The plan of a row, priced."""
        cut, defense, level = key
        if (cut, defense) in self.fits:
            priced = self.fits[cut, defense]
            return priced.evaluate(priced.payload, priced.noise(level))
        return self.model.evaluate(*self.grid.plans[key])

    def of(self, plan: Plan) -> ReplayedModel | ReplayedFit:
        """What prices a plan."""
        if plan.fitted is None:
            return self.model
        return next(fit for fit in self.fits.values() if fit.fitted.digest == plan.fitted.digest)

    def row(self, plan: Plan) -> Key:
        """The row that a plan counts as."""
        return self.of(plan).row(plan.cut, plan.defense)

    def attacked(self, plan: Plan) -> Plan:
        """The plan of its row with what attacks left of it."""
        key = self.row(plan)
        self.asked.attacked.append(key)
        counted = self.grid.plans[key][1] if plan.fitted is None else self.of(plan).noise(key[2])
        return dataclasses.replace(plan, defense=counted, verified=self.asked.table[key].verified)

    @property
    def cost(self) -> float:
        """Processor's seconds of what was asked for."""
        return self.asked.cost


@dataclass(eq=False)
class ReplayedFits(Fits):
    """The product's stage of fits over a table: each fit is there already, a short and a whole one."""

    replay: Replay = None  # type: ignore[assignment]  # a dataclass's defaults come last; the caller sets it

    def _fitted(self, fit: Fit) -> ReplayedFit:
        method = short_of(fit.pair.method) if fit.short else fit.pair.method
        return self.replay.fits[fit.pair.cut.name, method]

    def _allowance(self, pairs: int) -> Allowance:
        return dataclasses.replace(ALLOWANCE, pairs=pairs)

    def _may_be_eased(self, pair: Pair) -> bool:
        return False  # the table has one weight

    def _head(self, cut: Cut, allowance: Allowance) -> list[Plan]:
        return []
