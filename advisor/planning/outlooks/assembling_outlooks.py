"""The outlook: the segments of one axis, the picture of two, the portfolio, and what is said beside them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from advisor.advice import Advice
from advisor.outlook import LINK, Axis, Band, Option, Outlook, Segment
from advisor.planning.outlooks import axis_regions as regions
from advisor.planning.outlooks.choosing import NONE, Chooser, Chosen, identity
from advisor.planning.outlooks.portfolio import serve
from advisor.planning.outlooks.varied import Asked
from advisor.planning.outlooks.verify_command import verify_command
from advisor.plans import Plan
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS
from advisor.units import show_rate

_OF_THE_LINK = ("latency", "throughput", "edge_energy")
"""Measurements that bandwidth moves."""


@dataclass(frozen=True, eq=False)
class Looking:
    """Finds the outlook.

    Attributes:
        advice: what is asked about.
        asked: what is varied, and what stays.
        chooser: chooses.
        place: where the advice lies; None in memory.
    """

    advice: Advice
    asked: Asked
    chooser: Chooser
    place: str | None

    def outlook(self, most: int | None, hysteresis: float) -> Outlook:
        """All of it."""
        axes = self.asked.axes
        parts = self._segments(axes[0], {}) if len(axes) == 1 else []
        if not axes:
            chosen = self._at({})
            parts = [(Segment(math.nan, math.nan, "", chosen.value, chosen.value), chosen)]
        found: list[tuple[Band, list[Chosen]]] = []
        if len(axes) == 2:
            parts = self._segments(axes[0], {axes[1].name: axes[1].at(0.5)})
            found = regions.bands(axes[1], lambda v: self._segments(axes[0], {axes[1].name: v}, rough=True))
        every = [chosen for _, row in found for chosen in row] + [chosen for _, chosen in parts]
        served = None if most is None else serve(self.chooser, self.asked, axes[0], most, hysteresis)
        every += [] if served is None else served.chosen
        letter = regions.letters([chosen.key for chosen in every])
        return Outlook(
            axes, str(self.asked.base), self.asked.budgets, self.chooser.best_in, self._options(every, letter),
            tuple(dataclasses.replace(segment, letter=letter[chosen.key]) for segment, chosen in parts),
            tuple(_lettered(band, row, letter) for band, row in found),
            None if served is None else served.named(letter), tuple(self._notes()),
        )  # fmt: skip

    def _at(self, values: Mapping[str, float]) -> Chosen:
        return self.chooser.at(self.asked.link(values), self.asked.limits(values))

    def _segments(self, axis: Axis, fixed: Mapping[str, float], rough: bool = False) -> list[tuple[Segment, Chosen]]:
        grid = regions.GRID_OF_THE_PICTURE if rough else regions.GRID
        near = regions.FOR_THE_PICTURE if rough else regions.EXACT
        events = self._events(axis, fixed, rough)
        return regions.segments(axis, lambda value: self._at({**fixed, axis.name: value}), events, grid, near)

    def _events(self, axis: Axis, fixed: Mapping[str, float], rough: bool) -> list[tuple[float, float]]:
        """Values of an axis at which a plan just meets a requirement, each with its neighbour at which it does not."""
        if axis.name == LINK:
            return [] if rough else self._entries(axis, fixed)
        row = REQUIREMENTS[axis.name]
        splits, whole = self.chooser.over(self.asked.link(fixed))
        found = [plan.found(row) for plan in (*splits, *whole)]
        ends = [row.judged(estimate, self.chooser.confidence) for estimate in found if estimate is not None]
        beside = -math.inf if row.minimised else math.inf
        return [(end, math.nextafter(end, beside)) for end in ends if math.isfinite(end)]

    def _entries(self, axis: Axis, fixed: Mapping[str, float]) -> list[tuple[float, float]]:
        """Bandwidths at which a plan begins to meet a limit that bandwidth moves."""
        moved = [(row, limit) for row, limit in self.asked.limits(fixed) if row.measurement in _OF_THE_LINK]
        plain = self.chooser.best_in.measurement == "latency" and self.chooser.confidence is None
        if not moved or (plain and all(row.measurement == "latency" for row, _ in moved)):
            return []
        every = (*self.chooser.splits, *self.chooser.baselines)
        return [pair for plan in every for row, limit in moved for pair in self._entry(axis, plan, row, limit)]

    def _entry(self, axis: Axis, plan: Plan, row: Requirement, limit: float) -> list[tuple[float, float]]:
        def met(rate: float) -> bool:
            priced = self.chooser.repricer.over(plan, self.asked.link({LINK: rate}))
            return row.missed_by(priced.found(row), limit, self.chooser.confidence) == 0

        low, high, at_low = axis.low, axis.high, met(axis.low)
        if at_low == met(axis.high):
            return []
        for _ in range(60):
            middle = axis.between(low, high)
            low, high = (middle, high) if met(middle) == at_low else (low, middle)
        return [(low, high) if at_low else (high, low)]

    def _options(self, every: Sequence[Chosen], letter: Mapping[tuple[str, ...], str]) -> tuple[Option, ...]:
        first = {chosen.key: chosen for chosen in reversed(every) if chosen.key != NONE}
        recorded = {identity(plan): plan for plan in (*self.chooser.splits, *self.chooser.baselines)}
        found = []
        for key, chosen in first.items():
            if chosen.plan is not None:
                plan = recorded[identity(chosen.plan)]
                command = verify_command(plan, self.advice, self.place)
                verified = bool(plan.verified)
                found.append(Option(letter[key], chosen.verdict, plan, chosen.private, verified, command))
        return tuple(sorted(found, key=lambda option: (len(option.letter), option.letter)))

    # ---- what is said beside the numbers -------------------------------------------------------------------------

    def _notes(self) -> Iterator[str]:
        splits, whole = len(self.chooser.splits), len(self.chooser.baselines)
        yield (
            "Nothing was measured again: costs follow from the profile, leakage and accuracy are as recorded. "
            f"{splits} splits and {whole} plans without one were looked at."
        )
        if self.chooser.require_split:
            yield "A split is required: everything on the edge or in the cloud is not chosen."
        base, asked = self.asked.base, self.advice.budgets
        if any(axis.name == LINK for axis in self.asked.axes):
            follows = self.asked.link({LINK: 2 * base.up}).down != base.down
            down = "as fast down as up" if follows else f"{show_rate(base.down)} down"
            yield f"The link is {base.name} at other rates up: {down}, a round trip of {1e3 * base.rtt:.3g} ms."
            if any(row.measurement == "edge_energy" for row, _ in (*self.asked.budgets, (self.chooser.best_in, 0))):
                yield "Radio power is known at the recorded rate alone: what sends has no known edge energy elsewhere."
        if not self.advice.tried and self.advice.pareto:
            yield "This advice keeps only the plans that it shows: others that were tried could not be looked at."
        if base == self.chooser.repricer.link and asked == self.asked.budgets and not self._agrees():
            yield "By what the advice records now, another plan is chosen than the one that it names."

    def _agrees(self) -> bool:
        """Whether the choice at the advice's own link and requirements is the advice's."""
        chosen, best = self.chooser.at(self.chooser.repricer.link, self.advice.budgets), self.advice.best
        if chosen.plan is None or best is None or not self.advice.feasible:
            return chosen.plan is None and not self.advice.feasible
        return identity(chosen.plan) == identity(best)


def _lettered(band: Band, row: Sequence[Chosen], letter: Mapping[tuple[str, ...], str]) -> Band:
    parts = zip(band.segments, row, strict=True)
    return dataclasses.replace(
        band, segments=tuple(dataclasses.replace(part, letter=letter[chosen.key]) for part, chosen in parts)
    )
