"""Which short fits are made whole, against plans made for it."""

from __future__ import annotations

from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.fits.finalists import finalists
from advisor.planning.fits.fit_schedule import Pair
from advisor.planning.selecting.selection import with_excess
from advisor.plans import Plan
from advisor.requirements import Budgets
from tests.advisor.plans import a_plan

BUDGETS = Budgets(min_nmse=0.3, max_accuracy_drop=0.1)
LIMITS = LeakageLimits(0.3, None, True)


def short_fit(name: str, method: str = "ridge", **numbers: float) -> tuple[Plan, Pair]:
    plan = with_excess(a_plan(name, **numbers), BUDGETS, LIMITS)
    return plan, Pair(plan.cut, method, {})


def chosen(*short: tuple[Plan, Pair], count: int = 2) -> list[str]:
    return [f"{pair.method} at {pair.cut.name}" for pair in finalists(short, BUDGETS, LIMITS, count)]


def test_the_last_place_is_for_what_would_be_faster_if_a_whole_fit_keeps_what_it_misses() -> None:
    kept = short_fit("kept", latency=0.03, score=0.8, drop=0.05)
    slower = short_fit("slower", latency=0.04, score=0.9, drop=0.04)
    near = short_fit("near", latency=0.02, score=0.2, drop=0.12)  # both missed by a third and a fifth
    far = short_fit("far", latency=0.01, score=0.1, drop=0.12)  # NMSE missed by two thirds
    assert chosen(kept, slower, near, far) == ["ridge at kept", "ridge at near"]
    assert chosen(kept, slower, far) == ["ridge at kept", "ridge at slower"]
    assert chosen(kept, slower, near, far, count=1) == ["ridge at kept"]


def test_where_no_short_fit_meets_everything_the_nearest_go_on() -> None:
    near = short_fit("near", latency=0.04, score=0.35, drop=0.11)
    next_near = short_fit("next", latency=0.03, score=0.35, drop=0.12)
    far = short_fit("far", latency=0.01, score=0.35, drop=0.14)
    assert chosen(far, next_near, near) == ["ridge at near", "ridge at next"]


def test_the_best_of_each_method_goes_first() -> None:
    ridge = [short_fit(name, latency=0.03, score=0.8, drop=drop) for name, drop in (("a", 0.02), ("b", 0.03))]
    tuned = short_fit("c", "tuned", latency=0.04, score=0.8, drop=0.05)
    assert chosen(*ridge, tuned) == ["ridge at a", "tuned at c"]
    assert chosen(*ridge, tuned, count=3) == ["ridge at a", "tuned at c", "ridge at b"]
