"""A portfolio: the few plans that between them serve a range of bandwidth or a trace, and when an edge switches."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.errors import AdvisorError
from advisor.outlook import LINK, Axis, Portfolio, Segment, Switch
from advisor.planning.outlooks.axis_regions import segments
from advisor.planning.outlooks.choosing import NONE, Chooser, Chosen, identity
from advisor.planning.outlooks.repricing import at_rate
from advisor.planning.outlooks.varied import Asked
from advisor.plans import Plan
from advisor.profilers import Link
from advisor.requirements import Budgets

Key = tuple[str, ...]
EXHAUSTIVE = 20_000
"""Sets of plans that are all tried; of more, plans are added one by one."""
MOST_MEASUREMENTS = 400
"""Of a trace, evenly spread, that plans are priced over."""
POINTS = 61
"""Of a range, equally far in the logarithm, that plans are priced over."""
WORTH = 1e-3
"""A further plan must lower the mean loss by so much."""


def losses(chooser: Chooser, links: Sequence[Link], budgets: Budgets) -> tuple[list[Key], np.ndarray]:
    """Plans, and by which share each is worse than the best plan over each link.

    Returns:
        Their identities, and `[plans, links]`; infinite where a plan does not meet the requirements,
        NaN where none does.
    """
    allowed = [chooser.allowed(link, budgets) for link in links]
    keys = list(dict.fromkeys(key for found in allowed for key in found))
    table = np.full((len(keys), len(links)), math.inf)
    for column, found in enumerate(allowed):
        if not found:
            table[:, column] = math.nan
            continue
        costs = {key: value if chooser.best_in.minimised else -value for key, value in found.items()}
        least = min(costs.values())
        scale = abs(least) or 1.0
        for row, key in enumerate(keys):
            if key in costs:
                table[row, column] = (costs[key] - least) / scale
    return keys, table


def fewest(table: np.ndarray, most: int) -> list[int]:
    """Rows of `losses` that between them serve best: least unserved, then least mean loss, then fewest.

    Args:
        table: `[plans, links]`.
        most: rows at most.
    """
    known = table[:, ~np.isnan(table).any(axis=0)] if len(table) else table
    if not known.size:
        return []
    useful = [i for i in range(len(known)) if np.isfinite(known[i]).any() and not _idle(i, known)]
    best: list[int] = []
    for count in range(1, min(most, len(useful)) + 1):
        found = _best_of(useful, known, count, best)
        if best and not _is_better(_worth(known, found), _worth(known, best)):
            break
        best = found
    return best


def _idle(index: int, table: np.ndarray) -> bool:
    as_good = (table <= table[index]).all(axis=1)
    return bool((as_good & ((table < table[index]).any(axis=1) | (np.arange(len(table)) < index))).any())


def _best_of(useful: Sequence[int], table: np.ndarray, count: int, before: Sequence[int]) -> list[int]:
    if math.comb(len(useful), count) <= EXHAUSTIVE:
        sets: list[list[int]] = [list(rows) for rows in itertools.combinations(useful, count)]
    else:
        sets = [[*before, row] for row in useful if row not in before]
    return min(sets, key=lambda rows: _worth(table, rows))


def _worth(table: np.ndarray, rows: Sequence[int]) -> tuple[float, float]:
    """Share that is not served, and mean loss where it is: less is better."""
    least = table[list(rows)].min(axis=0)
    served = np.isfinite(least)
    return float(1 - served.mean()), float(least[served].mean()) if served.any() else math.inf


def _is_better(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[0] or (one[0] == other[0] and one[1] < other[1] - WORTH)


@dataclass(frozen=True)
class Serving:
    """A portfolio whose plans have no letters yet.

    Attributes:
        chosen: its plans, in the order of bandwidth.
        moves: below, above, and the switch between them.
        rest: the other fields of `Portfolio`.
    """

    chosen: list[Chosen]
    moves: list[tuple[Key, Key, Switch]]
    rest: dict[str, Any]

    def named(self, letter: Mapping[Key, str]) -> Portfolio:
        """The portfolio, by the letters of its plans."""
        switches = [dataclasses.replace(s, below=letter[one], above=letter[other]) for one, other, s in self.moves]
        return Portfolio(tuple(letter[plan.key] for plan in self.chosen), tuple(switches), **self.rest)


def serve(chooser: Chooser, asked: Asked, axis: Axis, most: int, hysteresis: float) -> Serving:
    """The portfolio of a range, or of a trace where the link has one.

    Args:
        chooser: among which plans.
        asked: link and requirements.
        axis: of bandwidth.
        most: plans at most.
        hysteresis: share by which staying must be worse before an edge changes over.

    Raises:
        AdvisorError: where no plan meets the requirements anywhere.
    """
    trace, base = spread_out(asked.base.trace), asked.base
    links = [
        dataclasses.replace(at_rate(base, up), down=down, rtt=rtt, rtt_low=rtt, rtt_high=rtt) for up, down, rtt in trace
    ] or [asked.link({LINK: axis.at(i / (POINTS - 1))}) for i in range(POINTS)]
    keys, table = losses(chooser, links, asked.budgets)
    rows = fewest(table, most)
    if not rows:
        raise AdvisorError("No plan meets the requirements anywhere in this range.", "Ask for less.")
    kept, least = chooser.only([keys[row] for row in rows]), table[rows].min(axis=0)
    parts = segments(axis, lambda rate: kept.at(asked.link({LINK: rate}), asked.budgets))
    chosen = list({part.key: part for _, part in parts if part.key != NONE}.values())
    served = least[np.isfinite(least)]
    return Serving(chosen, _moves(kept, asked, axis, parts, hysteresis), {
        "hysteresis": hysteresis, "served": len(served) / len(least), "loss": float(served.mean()),
        "most_loss": float(served.max()), "measurements": len(base.trace),
        "changes": walked(table[rows], hysteresis) if trace else 0,
        "changes_without": walked(table[rows], 0.0) if trace else 0,
    })  # fmt: skip


def _moves(
    kept: Chooser, asked: Asked, axis: Axis, parts: Sequence[tuple[Segment, Chosen]], hysteresis: float
) -> list[tuple[Key, Key, Switch]]:
    """When an edge changes over between neighbours of a range."""

    def leaves(plan: Plan) -> Callable[[float], bool]:
        return lambda rate: _loss(kept, asked, identity(plan), rate) > hysteresis

    found = []
    for (_, below), (segment, above) in itertools.pairwise(parts):
        if below.plan is None or above.plan is None:
            continue
        up = _first(axis, segment.low, axis.high, leaves(below.plan))
        down = _first(axis, segment.low, axis.low, leaves(above.plan))
        found.append((below.key, above.key, Switch("", "", segment.low, up, down)))
    return found


def _loss(kept: Chooser, asked: Asked, key: Key, rate: float) -> float:
    """By which share a plan is worse than the best of the portfolio; infinite where it does not meet everything."""
    keys, table = losses(kept, [asked.link({LINK: rate})], asked.budgets)
    return float(table[keys.index(key), 0]) if key in keys else math.inf


def _first(axis: Axis, start: float, end: float, leaves: Callable[[float], bool], steps: int = 48) -> float | None:
    """The first bandwidth from `start` towards `end` at which an edge leaves; None where it never does.

    A few dozen values are looked at, and the first at which it leaves is closed in on.
    """
    stays = start
    for step in range(1, steps + 1):
        share = axis.share(start) + (axis.share(end) - axis.share(start)) * step / steps
        rate = end if step == steps else axis.at(share)
        if leaves(rate):
            left = rate
            for _ in range(40):
                middle = axis.between(stays, left)
                stays, left = (stays, middle) if leaves(middle) else (middle, left)
            return left
        stays = rate
    return None


def walked(table: np.ndarray, hysteresis: float) -> int:
    """How often an edge changes over along a trace.

    Args:
        table: `[plans of the portfolio, measurements]`, as `losses` has them.
        hysteresis: share by which staying must be worse.
    """
    running, changes = -1, 0
    for column in table.T:
        if np.isnan(column).any() or not np.isfinite(column).any():
            continue
        best = int(column.argmin())
        if running < 0:
            running = best
        elif column[running] > column[best] + hysteresis:
            running, changes = best, changes + 1
    return changes


def spread_out(trace: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """At most `MOST_MEASUREMENTS` of a trace, in its order."""
    if len(trace) <= MOST_MEASUREMENTS:
        return list(trace)
    return [trace[round(i * (len(trace) - 1) / (MOST_MEASUREMENTS - 1))] for i in range(MOST_MEASUREMENTS)]
