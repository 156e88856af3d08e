"""Where brackets decide nothing: which plan is attacked, what that says of others, and when it ends."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

import advisor
from advisor.cuts import Cut, TensorSpec
from advisor.defenses import GaussianNoise, NoDefense
from advisor.estimate import Estimate
from advisor.estimators.study import few_attacks
from advisor.estimators.study.few_attacks import Allowance
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.selecting.selection import choose, with_excess
from advisor.planning.timing.time_plan import TimePlan
from advisor.planning.verifying import closer_looks as looks
from advisor.plans import Plan
from advisor.requirements import Budgets
from tests.advisor.planning.verifying.test_verification import clouds
from tests.advisor.plans import a_plan
from tests.conftest import tiny_net

LIMITS = LeakageLimits(min_nmse=0.3, max_ssim=None, asked=True)
BUDGETS = Budgets(min_nmse=0.3)


def between(index: int, low: float, high: float, value: float, latency: float, noise: float = 0.0) -> Plan:
    """A plan whose leakage is a bracket."""
    made = a_plan(str(index), latency=latency, defense=GaussianNoise(noise) if noise else NoDefense())
    predicted = made.predicted | {"score": Estimate(value, 0.0, low, high, source="estimated")}
    cut = Cut(index, str(index), (TensorSpec((4,), "float32"),))
    return with_excess(dataclasses.replace(made, cuts=(cut,), predicted=predicted), BUDGETS, LIMITS)


def judge_of(truth: dict[int, float], over: bool = False) -> Any:
    """One whose attacks find the truth of each cut."""

    def computed(task: Any) -> Any:
        left = truth[task.cut.index] + task.defense.noise
        found = {"score": Estimate(left, 0.01, left - 0.01, left + 0.01, source="estimated")}
        return {name: dataclasses.asdict(value) for name, value in found.items()}

    evaluator = SimpleNamespace(
        study=SimpleNamespace(is_bracketed=lambda cut: True), results=SimpleNamespace(one=computed),
        leakage_task=lambda cut, defense: SimpleNamespace(cut=cut, defense=defense),
    )  # fmt: skip
    return SimpleNamespace(
        evaluator=evaluator, limits=LIMITS, over=lambda **asked: over,
        judged=lambda plan: with_excess(plan, BUDGETS, LIMITS),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def plain_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "as_estimates", lambda task, found: {n: Estimate(**v) for n, v in found.items()})


def looked(judge: Any, plans: list[Plan]) -> list[Plan]:
    found = tuple(plans)
    for found in looks.closer_looks(judge, plans, lambda share, what="": None):  # noqa: B007
        pass
    return list(found)


@pytest.mark.parametrize(
    ("low", "high", "value", "wanted"),
    [(0.0, 1.0, 0.3, 0.5), (0.0, 1.0, 0.6, 0.75), (0.0, 0.5, 0.1, 0.25), (0.0, 0.2, 0.1, 0.0)],
)
def test_a_bracket_has_half_its_chance_on_either_side_of_its_value(
    low: float, high: float, value: float, wanted: float
) -> None:
    assert looks.chance(judge_of({}), between(1, low, high, value, 0.01)) == pytest.approx(wanted)


def test_what_misses_anything_else_or_was_attacked_is_no_candidate() -> None:
    judge, plan = judge_of({}), between(1, 0.0, 1.0, 0.6, 0.01)
    late = dataclasses.replace(plan, excess={**plan.excess, "max_latency": 0.1})
    assert looks.chance(judge, late) == 0
    assert looks.chance(judge, dataclasses.replace(plan, verified={"nmse": Estimate.exact(0.9)})) == 0
    judge.evaluator.study.is_bracketed = lambda cut: False
    assert looks.chance(judge, plan) == 0


def test_of_equal_gain_the_likelier_is_looked_at_and_of_equal_chance_the_faster() -> None:
    likely, unlikely = between(8, 0.0, 1.0, 0.9, 0.02), between(2, 0.0, 1.0, 0.1, 0.02)
    assert looks.most_promising(judge_of({}), [unlikely, likely], None) is likely
    fast = between(8, 0.0, 1.0, 0.9, 0.01)
    assert looks.most_promising(judge_of({}), [likely, fast], None) is fast
    sure = between(9, 0.4, 0.6, 0.5, 0.021)
    assert looks.most_promising(judge_of({}), [likely, fast], sure) is fast


def test_a_look_narrows_the_brackets_of_others() -> None:
    """Cut 5 leaves 0.2: earlier cuts leave no more, later ones no less; cut 7 leaves 0.5 then, and holds."""
    plans = [
        between(3, 0.0, 1.0, 0.3, 0.005), between(3, 0.0, 1.0, 0.4, 0.05, noise=0.2),
        between(5, 0.0, 1.0, 0.8, 0.01), between(7, 0.0, 1.0, 0.7, 0.02),
    ]  # fmt: skip
    judge = judge_of({3: 0.1, 5: 0.2, 7: 0.5})
    once = next(iter(looks.closer_looks(judge, plans, lambda share, what="": None)))
    shallow, noisy, own, deep = (plan.predicted["score"] for plan in once)
    assert own.value == pytest.approx(0.2)
    assert (shallow.low, shallow.high) == pytest.approx((0.0, 0.21))
    assert (noisy.low, noisy.high) == pytest.approx((0.0, 1.0))
    assert (deep.low, deep.high) == pytest.approx((0.19, 1.0))
    best = choose(looked(judge, plans), LIMITS)
    assert best is not None
    assert (best.cut.name, best.predicted["score"].value) == ("7", pytest.approx(0.5))


def test_what_would_be_better_than_what_holds_is_looked_at() -> None:
    doubtful, sure = between(5, 0.0, 1.0, 0.8, 0.01), between(7, 0.4, 1.0, 0.7, 0.02)
    slower = between(8, 0.0, 1.0, 0.8, 0.03)
    best = choose(looked(judge_of({5: 0.5}), [doubtful, sure, slower]), LIMITS)
    assert best is not None
    assert (best.cut.name, best.predicted["score"].value) == ("5", pytest.approx(0.5))


def test_no_plan_is_looked_at_twice() -> None:
    """Few samples leave the plan's own interval wide: what it may still be is no reason to attack it again."""
    judge = judge_of({})
    wide, asked = Estimate(0.9, 0.3, 0.1, 1.0, source="estimated"), list[str]()

    def computed(task: Any) -> Any:
        asked.append(task.cut.name)
        return {"score": dataclasses.asdict(wide)}

    judge.evaluator.results.one = computed
    after = looked(judge, [between(5, 0.0, 1.0, 0.8, 0.01), between(7, 0.0, 1.0, 0.8, 0.02, noise=0.1)])
    assert sorted(asked) == ["5", "7"]
    assert all(plan.predicted["score"] == wide for plan in after)


def test_it_ends_where_nothing_better_may_hold_or_the_time_is_up() -> None:
    doubtful, sure = between(5, 0.0, 1.0, 0.8, 0.03), between(7, 0.4, 1.0, 0.7, 0.02)
    assert not list(looks.closer_looks(judge_of({5: 0.5}), [doubtful, sure], lambda share, what="": None))
    assert not list(looks.closer_looks(judge_of({5: 0.5}, over=True), [doubtful], lambda share, what="": None))
    plans = [between(i, 0.0, 1.0, 0.8, 0.01, noise=0.01) for i in range(2, 9)]  # noise says nothing of other cuts
    after = looked(judge_of(dict.fromkeys(range(9), 0.1)), plans)
    assert sum(plan.predicted["score"].high < 0.3 for plan in after) == looks.MOST_LOOKS


def test_a_short_run_attacks_what_its_few_cuts_leave_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cuts of five are attacked; what lies between decides, and is no bracket in the answer."""
    monkeypatch.setattr(few_attacks, "FEWEST_ATTACKS", 2)
    monkeypatch.setattr(few_attacks.FewAttacks, "_rounds", lambda self, sheets, most: [(0, len(self.graph.cuts) - 1)])
    monkeypatch.setattr(TimePlan, "allowance", property(lambda self: Allowance(2)))
    found = advisor.recommend(
        tiny_net(3), data=clouds(1200), trials=1, defenses="none", verify="quick", require_split=True, min_nmse=0.02
    )
    best = found.best
    assert best is not None
    assert (found.verdict, bool(best.verified)) == ("split", True)
    assert best.predicted["score"].low > 0.02
    assert found.profile["score"].low[best.cut.index] == 0  # all that the study knew
