"""Which of the pairs of cut and method that were fitted briefly are fitted to the end."""

from __future__ import annotations

from collections.abc import Sequence

from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.fits.fit_places import PRICED_AT
from advisor.planning.fits.fit_schedule import Pair
from advisor.planning.selecting.selection import cost_of, meets, nearest_first
from advisor.plans import Plan
from advisor.requirements import Budgets

HOPE = 0.5
"""Of a limit, by which a short fit may miss it that a whole one is expected to keep: `ridge` at ResNet-20's `stem.2`
lost 12 points of accuracy after 60 steps and 7 after 250, and left an NMSE of 0.17 and 0.34."""


def finalists(short: Sequence[tuple[Plan, Pair]], budgets: Budgets, limits: LeakageLimits, count: int) -> list[Pair]:
    """The nearest of each method first, then the rest: what a short fit shows of one method says little of another.

    A method that only tunes is nearly done after a hundred steps; one with an encoder has just begun. Where the nearest
    meets everything, the last place is for the pair that would be better by the objective, if its whole fit keeps what
    its short one misses by little.

    Args:
        short: each short fit's plan, priced and judged, with its pair.
        budgets, limits: what plans must meet.
        count: how many, at most.
    """
    order = nearest_first([plan for plan, _ in short], budgets, limits)
    ranked = [next((plan, pair) for plan, pair in short if plan is known) for known in order]
    first = list({pair.method: pair for _, pair in reversed(ranked)}.values())[::-1]
    pairs = [pair for _, pair in ranked]
    first.sort(key=pairs.index)
    found = [*first, *(pair for pair in pairs if pair not in first)][:count]
    if count > 1 and ranked and meets(ranked[0][0], limits):
        best = cost_of(ranked[0][0], limits.best_in)
        better = [
            (cost_of(plan, limits.best_in), place)
            for place, (plan, pair) in enumerate(ranked)
            if pair not in found[:-1] and cost_of(plan, limits.best_in) < best and _hopeful(plan, budgets, limits)
        ]
        found[-1:] = [ranked[min(better)[1]][1]] if better else found[-1:]
    return found


def _hopeful(plan: Plan, budgets: Budgets, limits: LeakageLimits) -> bool:
    """Whether all that a plan misses is what a longer fit helps with, and by little."""
    allowed = {**limits.by_name, **budgets.limits}
    missed = {**plan.excess, **limits.shortfall(plan)}
    return all(name in PRICED_AT and over <= HOPE * allowed.get(name, 0.0) for name, over in missed.items())
