"""The table of cuts: which columns, which rows, what each cell says. Every report shows this one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.advice import Advice
from advisor.columns import Column, Profile
from advisor.estimate import Estimate
from advisor.plans import Plan
from advisor.reports.content.quantities import NOT_MEASURED, QUANTITIES, quantity, show_in, show_interval, side
from advisor.reports.content.text import clean
from advisor.units import show_share

MISSING = "n/m"
"""A cell that was not measured; every report spells it out beneath its table."""

TIMES = ("edge_latency", "link_latency", "cloud_latency")
BY_IMPORTANCE = (
    ("latency",), ("score",), ("bytes",), ("score_ssim",), TIMES, ("macs",), ("ka_nmse",), ("rc2_ratio",),
    ("fisher_snr",),
)  # fmt: skip
"""What a narrow table keeps longest; columns of one group are shown together."""
IN_ORDER = (
    "bytes", "macs", "params", "edge_memory", "edge_swap", "edge_energy", *TIMES, "latency", "score", "score_ssim",
    "ka_nmse", "ka_ssim", "linear_nmse", "rc2_ratio", "fisher_snr", "dcor", "label_leak",
)  # fmt: skip
MAIN = frozenset(name for group in BY_IMPORTANCE for name in group)
FLAGS = ("in_zone", "in_gpz")
WITH_INTERVAL = frozenset({"score"})


@dataclass(frozen=True)
class Cell:
    """One value of the table.

    Attributes:
        text: the number with its unit, or `MISSING`.
        interval: its 90 % interval, "" where exact or missing.
        why: the reason of a missing value.
    """

    text: str
    interval: str = ""
    why: str = ""

    def __str__(self) -> str:
        if self.interval.startswith("±"):
            return f"{self.text} {self.interval}"
        return f"{self.text} ({self.interval})" if self.interval else self.text


def cell(profile: Profile, name: str, index: int) -> Cell:
    """The cell of one column at one cut; MACs are shown as the edge's share of the whole model's."""
    column = profile[name]
    estimate = column.at(index)
    if not math.isfinite(estimate.value):
        return Cell(MISSING, why=clean(column.why[index] or "no finite value"))
    if name == "macs" and column.values[-1] > 0:
        return Cell(show_share(estimate.value / float(column.values[-1])))
    return estimate_cell(estimate, name, column_size(column))


def column_size(column: Column) -> float:
    """The value whose unit a whole column is written in: its largest."""
    known = column.values[np.isfinite(column.values)]
    return float(known.max()) if len(known) else math.nan


def estimate_cell(found: Estimate | None, name: str, like: float = math.nan) -> Cell:
    """The cell of one number; one that is absent or NaN is "not measured".

    Args:
        found: the number.
        name: its quantity.
        like: the number whose unit it is written in; NaN for its own.
    """
    if found is None or not math.isfinite(found.value):
        return Cell(NOT_MEASURED, why=clean(found.method if found and found.method else NOT_MEASURED))
    like = like if math.isfinite(like) else found.value
    return Cell(side(found) + show_in(found.value, like, found.unit, name), show_interval(found, name, like))


def main_columns(profile: Profile) -> tuple[str, ...]:
    """Columns that a page has room for, in reading order."""
    return tuple(name for name in IN_ORDER if name in profile and name in MAIN)


def all_columns(profile: Profile) -> tuple[str, ...]:
    """Every column but the yes/no ones, which are shown as marks; in reading order, those without a place last."""
    rest = [column.name for column in profile if column.name not in IN_ORDER and column.name not in FLAGS]
    return (*(name for name in IN_ORDER if name in profile), *rest)


def label(name: str) -> str:
    """Header of a column; the one that is shown as a share says so."""
    return "MACs on edge" if name == "macs" else clean(quantity(name).label)


def important_rows(advice: Advice) -> tuple[int, ...]:
    """Indices that a shortened table must keep, most important first: chosen, ends, zone edge, front, published."""
    last = len(advice.profile.cuts) - 1
    edges = run_edges(zone_rows(advice))
    plans = [*([advice.best] if advice.best else []), *advice.nearest, *advice.pareto]
    crossed = plan_rows(advice, *plans)
    chosen = plan_rows(advice, advice.best)
    around = [i + step for i in (*chosen, *edges[:1]) for step in (-1, 1)]
    return _distinct((*chosen, 0, last, *edges, *around, *crossed, *run_edges(flagged(advice.profile, "in_gpz"))), last)


def plan_rows(advice: Advice, *plans: Plan | None) -> tuple[int, ...]:
    """Indices of the model's own cuts at which plans cut; a fitted plan's payload is a cut of its variant."""
    order = {cut.name: cut.index for cut in advice.profile.cuts}
    return tuple(order[name] for plan in plans if plan is not None for name in plan.places if name in order)


def block_rows(advice: Advice) -> tuple[int, ...]:
    """Indices of the cuts that close a block, the ends and the plan's; all where no cut closes one."""
    cuts = advice.profile.cuts
    closing = [cut.index for cut in cuts if cut.block]
    if not closing:
        return tuple(range(len(cuts)))
    kept = {0, len(cuts) - 1, *closing, *plan_rows(advice, advice.best, advice.best_split)}
    return tuple(i for i in range(len(cuts)) if i in kept)


def pick_rows(count: int, important: Sequence[int], limit: int, whole: int = 0) -> tuple[int, ...]:
    """All of up to `whole` rows, else at most `limit`: the important ones first, the rest spread evenly."""
    if count <= max(limit, whole):
        return tuple(range(count))
    kept = list(important[:limit])
    spread = [round(i * (count - 1) / (limit - 1)) for i in range(limit)] if limit > 1 else []
    for i in spread:
        if i not in kept and len(kept) < limit:
            kept.append(i)
    return tuple(sorted(kept))


def zone_rows(advice: Advice) -> tuple[int, ...]:
    """Indices of the cuts in our zone."""
    inside = set(advice.zone)
    return tuple(cut.index for cut in advice.profile.cuts if cut.name in inside)


def flagged(profile: Profile, name: str) -> tuple[int, ...]:
    """Indices where a yes/no column says yes."""
    return tuple(i for i, value in enumerate(profile[name].values) if value > 0) if name in profile else ()


def run_edges(indices: Sequence[int]) -> tuple[int, ...]:
    """First and last index of each consecutive run: 3 4 5 9 gives 3 5 9 9."""
    edges: list[int] = []
    for position, i in enumerate(indices):
        if position == 0 or indices[position - 1] != i - 1:
            edges.append(i)
        if position == len(indices) - 1 or indices[position + 1] != i + 1:
            edges.append(i)
    return tuple(edges)


def show_cuts(indices: Sequence[int]) -> str:
    """`cuts 0–3, 7` for 0 1 2 3 7; `cut 7` for 7."""
    edges = run_edges(indices)
    pairs = zip(edges[::2], edges[1::2], strict=True)
    ranges = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in pairs)
    return f"{'cut' if len(indices) == 1 else 'cuts'} {ranges}"


def source_notes(profile: Profile, names: Iterable[str]) -> tuple[str, ...]:
    """Which columns were measured, which estimated, which bounded."""
    by_source: dict[str, list[str]] = {}
    for name in names:
        by_source.setdefault(profile[name].source, []).append(label(name))
    return tuple(f"{source}: {', '.join(labels)}" for source, labels in by_source.items())


def missing_notes(profile: Profile, names: Iterable[str]) -> tuple[str, ...]:
    """The reason of every missing value, grouped: `quick NMSE not measured at cuts 0–3: no labels`."""
    groups: dict[tuple[str, str], list[int]] = {}
    for name in names:
        column = profile[name]
        for i, value in enumerate(column.values):
            if not math.isfinite(value):
                groups.setdefault((name, clean(column.why[i] or "no finite value")), []).append(i)
    whole = range(len(profile.cuts))
    return tuple(
        f"{label(name)} not measured at {'any cut' if len(at) == len(whole) else show_cuts(at)}: {why}"
        for (name, why), at in groups.items()
    )


def meanings(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Header and meaning of each column, for a legend."""
    return tuple((label(name), QUANTITIES[name].meaning) for name in names if name in QUANTITIES)


def _distinct(indices: Iterable[int], last: int) -> tuple[int, ...]:
    return tuple(dict.fromkeys(i for i in indices if 0 <= i <= last))
