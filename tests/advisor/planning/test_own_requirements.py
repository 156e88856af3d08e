"""A requirement of the user's own: an object or a dotted path, held against every plan like those of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from advisor.commands.support.previous_advice import own_requirements
from advisor.errors import AdvisorError
from advisor.recorded import harmless
from advisor.request import Request
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS, Budgets, own
from advisor.units import digits, number
from tests.advisor.planning.shared_study.shared_search import recommended

PRICE = 1e-3


def price(plan: Any) -> float:
    """Of what is sent, in cents."""
    return PRICE * float(plan.predicted["bytes"].value)


ROW = Requirement(
    "max_price", "price", "price", "at most", "cent", number, digits, "price", "In Python.", function=price
)


def wait(plan: Any) -> float:
    """Of one input, in microseconds."""
    return 1e6 * float(plan.predicted["latency"].value)


WAIT = Requirement("max_wait", "wait", "wait", "at most", "µs", number, digits, "wait", "In Python.", function=wait)
SAME_NAME = Requirement("max_latency", "price", "price", "at most", "cent", number, digits, "price", "In Python.")


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    before = dict(REQUIREMENTS)
    yield
    REQUIREMENTS.clear()
    REQUIREMENTS.update(before)


@pytest.mark.parametrize("asked", [ROW, f"{__name__}:ROW"])
def test_a_row_of_the_users_own_decides_like_those_of_the_table(asked: Requirement | str) -> None:
    free = recommended(None, trials=4, require_split=True, defenses="none", min_nmse=0)
    assert free.best is not None
    limit = price(free.best) * 0.99
    bound = recommended(
        None, trials=4, require_split=True, defenses="none", min_nmse=0, requirements=[(asked, limit)],
    )  # fmt: skip
    assert bound.best is not None
    assert not bound.feasible or price(bound.best) <= limit
    every = [*bound.pareto, *bound.nearest]
    assert all(("max_price" in plan.excess) == (price(plan) > limit) for plan in every)
    assert any(plan.cut == free.best.cut and "max_price" in plan.excess for plan in every) or bound.feasible


def test_a_name_that_is_taken_or_unknown_is_refused() -> None:
    with pytest.raises(AdvisorError, match=r"A requirement cannot have the name 'max_latency'"):
        own(SAME_NAME)
    with pytest.raises(AdvisorError, match=r"There is no requirement 'max_beauty'.*Known: max_latency"):
        own("max_beauty")
    with pytest.raises(AdvisorError, match=r"is no requirement"):
        own(f"{__name__}:PRICE")


def test_the_command_line_names_it_by_its_path() -> None:
    assert own_requirements([f"{__name__}:ROW=5", "max_latency=50ms"]) == {"max_price": 5.0, "max_latency": 0.05}
    assert REQUIREMENTS["max_price"] == ROW
    with pytest.raises(AdvisorError, match=r"--requirement 'max_price' states no limit\. Write for example"):
        own_requirements(["max_price"])
    with pytest.raises(AdvisorError, match=r"--requirement .*ROW: 'much' is not a number"):
        own_requirements([f"{__name__}:ROW=much"])


def test_what_a_file_records_of_it_is_kept_and_asked_for_again() -> None:
    own(ROW)
    request = Request.of(model="m.pt2", max_price=5, max_latency="50ms")
    recorded = request.to_json()
    assert harmless(request).options["max_price"] == 5
    del REQUIREMENTS["max_price"]
    elsewhere = Request.from_json(recorded)
    assert elsewhere.requirements.limits == {"max_latency": 0.05}
    assert elsewhere.requirements.foreign == {"max_price": 5.0}
    assert elsewhere.to_json() == recorded
    assert elsewhere != request
    taken = harmless(elsewhere)
    assert "max_price" not in taken.options
    with pytest.raises(AdvisorError, match=r"--requirement 'max_price=5', which names code: that is not taken from"):
        taken.require({})
    taken.require({"requirement": {"max_price": 6.0}})


@pytest.mark.parametrize("name", ["max price", "--x", "a" * 61, ""])
def test_names_that_are_none_are_no_budgets(name: str) -> None:
    with pytest.raises(ValueError, match="names that are none"):
        Budgets.from_json({name: 1.0})
    with pytest.raises(ValueError, match="names that are none"):
        Budgets.from_json({f"max_{number}": 1.0 for number in range(33)})


def test_what_was_recorded_elsewhere_is_read_where_it_was_not_asked() -> None:
    own(ROW)
    recorded = Budgets(max_latency=0.1).to_json()
    assert "max_price" in recorded
    del REQUIREMENTS["max_price"]
    assert Budgets.from_json(recorded) == Budgets(max_latency=0.1)
