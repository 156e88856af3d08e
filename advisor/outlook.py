"""Outlook: how the choice moves with the link and the requirements; what `advisor.whatif` answers. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from advisor.estimate import json_number
from advisor.plans import Plan, Verdict
from advisor.requirement import Requirement
from advisor.requirements import Budgets

LINK = "link"
"""Name of the axis of bandwidth; every other axis is a requirement's."""
NOTHING = "–"
"""Stands for the choice where nothing meets the requirements."""


@dataclass(frozen=True)
class Axis:
    """What is varied.

    Attributes:
        name: "link", or a requirement's name.
        label: what people call it.
        unit: SI unit of the ends.
        low, high: its ends.
        show: writes a value with its unit.
        logarithmic: whether equal ratios are equally far.
    """

    name: str
    label: str
    unit: str
    low: float
    high: float
    show: Callable[[float], str] = field(compare=False)
    logarithmic: bool = True

    def at(self, share: float) -> float:
        """The value at a share of the way, 0 to 1."""
        if not 0 < share < 1:
            return self.low if share <= 0 else self.high
        if self.logarithmic:
            return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return self.low + share * (self.high - self.low)

    def between(self, one: float, other: float) -> float:
        """The value half-way."""
        return math.sqrt(one) * math.sqrt(other) if self.logarithmic else one + (other - one) / 2

    def share(self, value: float) -> float:
        """How far along a value lies, 0 to 1."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Option:
    """One of the answers that are chosen somewhere.

    Attributes:
        letter: "A", "B", …; what tables and pictures call it.
        verdict: as `Advice.verdict`; never "none".
        plan: what is run, priced over the link of the advice.
        private: False where it is merely the most private inside the budgets.
        verified: whether an attack was run on it; else its leakage is a prediction.
        verify: the command that attacks it; "" where that was done, or nothing is sent.
    """

    letter: str
    verdict: Verdict
    plan: Plan
    private: bool
    verified: bool
    verify: str = ""


@dataclass(frozen=True)
class Segment:
    """A part of the first axis on which one option is chosen.

    Attributes:
        low, high: its ends; next to another segment they are the threshold.
        letter: of the option; `NOTHING` where nothing meets the requirements.
        at_low, at_high: the objective at its ends; NaN where nothing is chosen.
        curve: pairs of a value of the axis and the objective there, for a picture; empty where nothing is chosen.
    """

    low: float
    high: float
    letter: str
    at_low: float = math.nan
    at_high: float = math.nan
    curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Band:
    """The segments of the first axis where the second has one value.

    Attributes:
        at: that value.
        low, high: the part of the second axis that it stands for in the picture.
        segments: left to right.
    """

    at: float
    low: float
    high: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Switch:
    """When an edge goes from one plan of a portfolio to another.

    Attributes:
        below, above: letters of the plan on either side.
        at: bandwidth at which both are as good, or one begins to meet the requirements; bit/s.
        up: bandwidth at which an edge that runs `below` goes over; None: nowhere in the range.
        down: bandwidth at which an edge that runs `above` goes back; None: nowhere in the range.
    """

    below: str
    above: str
    at: float
    up: float | None
    down: float | None


@dataclass(frozen=True)
class Portfolio:
    """The few plans that between them serve a range of bandwidth, or a measured trace.

    Attributes:
        letters: of its options, in the order of bandwidth.
        switches: when an edge changes over.
        hysteresis: share by which another plan must be better before an edge changes over.
        served: share of the range, or of the trace, on which one of its plans meets the requirements.
        loss, most_loss: mean and largest share by which it is worse in the objective than the best plan at each place.
        measurements: of the trace; 0 for a range.
        changes, changes_without: how often an edge changes over along the trace, with hysteresis and without.
    """

    letters: tuple[str, ...]
    switches: tuple[Switch, ...]
    hysteresis: float
    served: float
    loss: float
    most_loss: float
    measurements: int = 0
    changes: int = 0
    changes_without: int = 0


@dataclass(frozen=True)
class Outlook:
    """What `advisor.whatif` answers.

    Attributes:
        axes: what was varied: none, one or two.
        link: over which link, in words; its bandwidth is the axis where that is varied.
        budgets: the requirements; those on an axis are left out.
        best_in: the objective.
        options: every answer that is chosen somewhere.
        segments: along the first axis; with two axes at the middle of the second, with none a single point.
        bands: of the picture, with two axes.
        portfolio: where one was asked for.
        notes: what should be said beside the numbers.
    """

    axes: tuple[Axis, ...]
    link: str
    budgets: Budgets
    best_in: Requirement
    options: tuple[Option, ...]
    segments: tuple[Segment, ...]
    bands: tuple[Band, ...] = ()
    portfolio: Portfolio | None = None
    notes: tuple[str, ...] = ()

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Values of the first axis at which the choice changes, as `segments` has them."""
        return tuple(segment.low for segment in self.segments[1:])

    def option(self, letter: str) -> Option | None:
        """The option of that letter; None for `NOTHING`."""
        return next((option for option in self.options if option.letter == letter), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "axes": [
                {"name": a.name, "unit": a.unit, "low": a.low, "high": a.high, "logarithmic": a.logarithmic}
                for a in self.axes
            ],
            "link": self.link,
            "budgets": {row.name: limit for row, limit in self.budgets},
            "objective": self.best_in.quantity,
            "options": [_option(option) for option in self.options],
            "segments": [_segment(segment) for segment in self.segments],
            "thresholds": list(self.thresholds),
            "bands": [
                {"at": b.at, "low": b.low, "high": b.high, "segments": [_segment(s) for s in b.segments]}
                for b in self.bands
            ],
            "portfolio": None if self.portfolio is None else _portfolio(self.portfolio),
            "notes": list(self.notes),
        }  # fmt: skip


def _option(option: Option) -> dict[str, Any]:
    plan = option.plan
    numbers = {name: _plain({"value": e.value, "low": e.low, "high": e.high}) | {"unit": e.unit}
               for name, e in plan.predicted.items()}  # fmt: skip
    return {
        "letter": option.letter, "verdict": option.verdict, "kind": plan.kind, "plan": str(plan),
        "cuts": list(plan.places), "defense": str(plan.defense),
        "fitted": None if plan.fitted is None else plan.fitted.digest, "private": option.private,
        "verified": option.verified, "verify": option.verify, "predicted": numbers,
        "found": {name: _plain({"value": e.value, "low": e.low, "high": e.high}) for name, e in plan.verified.items()},
    }  # fmt: skip


def _portfolio(found: Portfolio) -> dict[str, Any]:
    return _plain({name: value for name, value in vars(found).items() if name not in ("letters", "switches")}) | {
        "letters": list(found.letters), "switches": [_plain(vars(switch)) for switch in found.switches],
    }  # fmt: skip


def _segment(segment: Segment) -> dict[str, Any]:
    return _plain({name: value for name, value in vars(segment).items() if name != "curve"})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: json_number(value) if isinstance(value, float) else value for key, value in values.items()}
