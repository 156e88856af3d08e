"""Budgets that no plan can keep together, whatever its defense: found from costs alone, before anything slow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

from advisor.columns import Profile
from advisor.cuts import Cut
from advisor.errors import BudgetError
from advisor.estimate import Estimate
from advisor.profilers import Link
from advisor.request import Request
from advisor.requirement import Requirement

COSTS = ("latency", "edge_memory", "macs")
"""Quantities with a least at each cut that no defense goes below: what is sent may shrink, what is computed not."""


def check_budgets(request: Request, cost: Profile, link: Link) -> None:
    """Refuse two budgets each of which some cut can keep, and no cut both.

    A single budget that no cut keeps is no contradiction: the nearest plans are then of interest.

    Raises:
        BudgetError: naming the pair.
    """
    if request.target.tail is not None:
        return
    rows = [(row, limit) for row, limit in request.requirements if row.measurement in COSTS]
    places = _places(request, cost, link)
    kept = {
        row.name: {i for i, least in enumerate(places) if _may_be_kept(row, limit, least[row.measurement])}
        for row, limit in rows
    }
    for (one, first), (other, second) in combinations(rows, 2):
        if kept[one.name] and kept[other.name] and kept[one.name].isdisjoint(kept[other.name]):
            raise BudgetError(
                f"{one.option} {one.show(first)} and {other.option} {other.show(second)} contradict each other: "
                "cuts keep either, none keeps both.", "Relax one of them.",
            )  # fmt: skip


def _may_be_kept(row: Requirement, limit: float, least: float) -> bool:
    """Also where the least is not known."""
    return math.isnan(least) or row.missed_by(Estimate.exact(least, row.unit), limit) == 0


def _places(request: Request, cost: Profile, link: Link) -> list[Mapping[str, float]]:
    """The least of each quantity at each place where a plan can stop."""
    cuts = cost.cuts[1:-1] if request.search.require_split else cost.cuts[1:]
    return [_least(cost, cut, link) for cut in cuts]


def _least(cost: Profile, cut: Cut, link: Link) -> dict[str, float]:
    """With a payload that takes no time on the air but the round trip."""
    air = 0.0 if cut is cost.cuts[-1] else link.rtt
    computed = cost["edge_latency"].at(cut).value + cost["cloud_latency"].at(cut).value
    return {name: cost[name].at(cut).value for name in COSTS} | {"latency": computed + air}
