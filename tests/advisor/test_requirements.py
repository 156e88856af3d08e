"""The table of requirements: limits are read and refused in one line, and one more row reaches every reader."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.selecting.plan_reasons import describe_excess
from advisor.planning.selecting.selection import choose, nearest, pareto, with_excess
from advisor.reports.content.budgets import misses, verdicts
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS, Budgets, front, objective, requirement
from advisor.units import show_size, size
from tests.advisor.plans import a_plan
from tests.conftest import Run

pytestmark = pytest.mark.usefixtures("short_attacks")

NO_LIMITS = LeakageLimits(None, None, asked=False)


@pytest.fixture
def made_up() -> Iterator[Requirement]:
    """One more requirement, in one entry: what is sent of one input."""
    row = Requirement(
        "max_payload", "bytes", "bytes", "at most", "B", size, show_size, "payload", "Bytes of one input: 4KiB."
    )
    REQUIREMENTS[row.name] = row
    yield row
    del REQUIREMENTS[row.name]


def sending(name: str, count: float, latency: float = 0.01):
    plan = a_plan(name, latency=latency)
    plan.predicted["bytes"] = Estimate.exact(count, "B")
    return plan


# ---- one more row ---------------------------------------------------------------------------------------------------


def test_one_more_row_is_an_option_is_judged_and_is_reported(made_up: Requirement, recommend: Run, tmp_path) -> None:
    import advisor

    result = recommend("--max-payload", "100KiB")
    assert result.exit_code == 0, result.output
    assert "payload at most 100 KiB" in " ".join(result.stdout.split())
    assert "payload" in (tmp_path / "out" / "report.html").read_text()
    assert advisor.load_advice(tmp_path / "out").budgets.max_payload == 100 * 1024
    tight = recommend("--max-payload", "1B", "--defenses", "int8", "--require-split")
    assert tight.exit_code == 3, tight.output
    assert "--max-payload by" in " ".join(tight.stdout.split())
    wrong = recommend("--max-payload", "many")
    assert wrong.exit_code == 2
    assert "--max-payload: 'many' is not a size" in wrong.stderr


def test_one_more_row_decides_what_is_chosen_and_what_is_nearest(made_up: Requirement) -> None:
    budgets = Budgets(max_payload="2KiB")
    plans = [with_excess(p, budgets, NO_LIMITS) for p in (sending("big", 4096, 0.001), sending("small", 1024, 0.1))]
    assert choose(plans, NO_LIMITS).cut.name == "small"
    assert plans[0].excess == {"max_payload": 2048}
    assert describe_excess("max_payload", 2048) == "--max-payload by 2 KiB"
    (verdict,) = verdicts(plans[0], budgets)
    assert (verdict.label, verdict.limit, verdict.status, verdict.note) == (
        "payload",
        "at most 2 KiB",
        "missed",
        "2 KiB over",
    )
    assert misses(plans[0], budgets) == "payload 2 KiB over (budget: at most 2 KiB)"
    far = with_excess(sending("far", 65536, 0.0001), budgets, NO_LIMITS)
    assert [plan.cut.name for plan in nearest([far, plans[0]], budgets)] == ["big", "far"]


def test_a_row_on_the_front_keeps_what_is_best_in_it(made_up: Requirement) -> None:
    light, fast = sending("light", 1, latency=0.02), sending("fast", 100, latency=0.01)
    assert [plan.cut.name for plan in pareto([light, fast])] == ["fast"]
    REQUIREMENTS[made_up.name] = Requirement(**{**vars(made_up), "on_front": True})
    assert [plan.cut.name for plan in pareto([light, fast])] == ["fast", "light"]
    assert [row.quantity for row in front()] == ["latency", "nmse", "accuracy_drop", "bytes"]


# ---- limits ---------------------------------------------------------------------------------------------------------


def test_limits_are_read_from_text_and_numbers() -> None:
    budgets = Budgets(max_latency="50ms", max_accuracy_drop="2%", max_edge_memory="1GiB", min_nmse=0.7)
    assert dict(budgets.limits) == {
        "max_latency": pytest.approx(0.05), "max_accuracy_drop": 0.02, "max_edge_memory": 2**30, "min_nmse": 0.7,
    }  # fmt: skip
    assert budgets.max_ssim is None
    assert Budgets(0.05, 0.02, 0.3, 0.7, 1e9).max_edge_memory == 1e9


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"max_latency": -0.05}, "max_latency: -0.05 is not a duration such as 50ms"),
        ({"max_latency": math.nan}, "max_latency: nan is not a duration"),
        ({"max_latency": math.inf}, "max_latency: inf is not a duration"),
        ({"max_latency": "soon"}, "max_latency: 'soon' is not a duration"),
        ({"max_latency": "5GiB"}, "max_latency: '5GiB' is not a duration"),
        ({"max_latency": True}, "max_latency: True is not a duration"),
        ({"max_accuracy_drop": 2}, "max_accuracy_drop: 2 is above 1. Write a share"),
        ({"min_nmse": "-1%"}, "min_nmse: '-1%' is not a share"),
        ({"max_edge_memory": "9" * 5000}, "max_edge_memory: '9{64}'… is not a size"),
        ({"max_latncy": 1}, "There is no requirement 'max_latncy'. Known: max_latency, "),
    ],
)
def test_what_is_no_limit_is_refused_in_one_line(asked: dict[str, object], reason: str) -> None:
    with pytest.raises(AdvisorError, match=reason) as caught:
        Budgets(**asked)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_budgets_are_a_value() -> None:
    budgets = Budgets(max_latency=0.05)
    assert budgets == Budgets(max_latency="50ms") != Budgets(max_latency=0.06)
    assert len({budgets, Budgets(max_latency=0.05)}) == 1
    for again in (copy.deepcopy(budgets), pickle.loads(pickle.dumps(budgets)), Budgets.from_json(budgets.to_json())):
        assert again == budgets
    with pytest.raises(AttributeError, match="frozen"):
        budgets.max_latency = 1.0
    with pytest.raises(AttributeError, match="no budget 'max_luck'"):
        _ = budgets.max_luck
    assert repr(budgets) == "Budgets(max_latency=0.05)"


@pytest.mark.parametrize(
    "payload", [[], {"max_latency": "50ms"}, {"max_latency": -1}, {"bad luck": 1}, {"luck": "1"}, {"max_ssim": []}]
)
def test_a_file_holds_numbers_of_known_requirements_only(payload: object) -> None:
    with pytest.raises(ValueError, match=r"budget|requirement|max_latency"):
        Budgets.from_json(payload)


@given(st.sampled_from(sorted(REQUIREMENTS)), st.floats(0, 1), st.floats(-2, 2), st.floats(0, 1))
def test_what_is_missed_is_what_lies_beyond_the_limit(name: str, limit: float, value: float, spread: float) -> None:
    row = requirement(name)
    found = Estimate(value, spread, value - spread, value + spread)
    held = value if not row.cautious else value + spread if row.minimised else value - spread
    beyond = held - limit if row.minimised else limit - held
    assert row.missed_by(found, limit) == pytest.approx(max(0.0, beyond))
    assert math.isnan(row.missed_by(Estimate(math.nan), limit))
    assert math.isnan(row.missed_by(None, limit))


def test_objectives_are_the_tables_quantities() -> None:
    assert objective("latency").name == "max_latency"
    with pytest.raises(
        AdvisorError, match=r"no objective 'luck'\. Known: latency, accuracy_drop, ssim, nmse, edge_memory"
    ):
        objective("luck")


# ---- every quantity of a plan is a row ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "limit", "shown"),
    [
        ("min_accuracy", "90%", 0.9, "90 %"),
        ("min_throughput", "30/s", 30.0, "30.0/s"),
        ("max_bytes", "4KiB", 4096.0, "4 KiB"),
        ("max_edge_energy", "20mJ", 0.02, "20 mJ"),
        ("max_edge_macs", "50M", 5e7, "50 M"),
        ("min_mse_bound", "0.01", 0.01, "0.0100"),
        ("max_label_leak", "50%", 0.5, "50 %"),
        ("max_ids_recovered", "20%", 0.2, "20 %"),
    ],
)
def test_a_row_reads_its_text_and_writes_it(name: str, text: str, limit: float, shown: str) -> None:
    row = REQUIREMENTS[name]
    assert row.limit(text) == pytest.approx(limit)
    assert row.show(limit) == shown
    assert objective(row.quantity) is row


def test_an_objective_is_named_by_its_quantity_or_its_column_or_is_a_function() -> None:
    assert objective("score").name == objective("nmse").name == "min_nmse"
    row = objective(lambda plan: plan.predicted["latency"].value * 2)
    assert row.minimised
    assert a_plan(latency=0.25).found(row).value == 0.5


def test_a_bound_of_unknown_end_passes_no_limit() -> None:
    """The value alone says nothing where the unfavourable end is what counts."""
    plan = a_plan(score=0.9)
    plan.predicted["score"] = Estimate(0.9)
    assert math.isnan(plan.missing({"min_nmse": 0.5})["min_nmse"])


def test_a_confidence_holds_every_limit_at_its_bad_end() -> None:
    """A drop of 2.0 points whose interval reaches 3.2 is within 2 points only by its value."""
    plan = a_plan(latency=0.01)
    plan.predicted["accuracy_drop"] = Estimate(0.02, 0.0073, 0.008, 0.032)
    limits = {"max_accuracy_drop": 0.02, "max_latency": 0.01}
    assert plan.missing(limits) == {}
    assert plan.missing(limits, 0.9) == {"max_accuracy_drop": pytest.approx(0.012)}
    wider, narrower = (plan.missing(limits, c)["max_accuracy_drop"] for c in (0.95, 0.5))
    assert wider == pytest.approx(0.012 * 1.95996 / 1.64485, rel=1e-4)
    assert narrower == pytest.approx(0.012 * 0.67449 / 1.64485, rel=1e-4)
    asked = LeakageLimits(None, None, asked=False, confidence=0.9)
    assert with_excess(plan, Budgets(max_accuracy_drop=0.02), asked).excess == {
        "max_accuracy_drop": pytest.approx(0.012)
    }
