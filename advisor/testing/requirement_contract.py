"""What every requirement must do: one row that budgets, objective, front, options and reports read."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import pytest

from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.requirement import Requirement
from advisor.requirements import Budgets, objective
from advisor.testing.made_up_advices import DEMOS


class RequirementContract:
    """Inherit it and give the row as the fixture `row`, while it is in `REQUIREMENTS`, and limits as text."""

    texts: ClassVar[tuple[str, ...]] = ()
    """Limits as text, from the strictest to the loosest."""
    refused: ClassVar[tuple[str, ...]] = ("nan", "-1", "many", "")
    """What is no limit."""

    @pytest.fixture
    def row(self) -> Requirement:
        """The requirement under test."""
        raise NotImplementedError("give the row as a fixture")

    @pytest.fixture
    def limits(self, row: Requirement) -> list[float]:
        """The limits of `texts`, the strictest first."""
        return [row.limit(text) for text in self.texts]

    def test_it_describes_itself(self, row: Requirement) -> None:
        """Keyword, option, unit, label and a line of help with an example."""
        assert row.name.isidentifier()
        assert row.option == "--" + row.name.replace("_", "-")
        assert row.unit
        assert row.label
        assert row.help
        assert row.sense in ("at most", "at least")

    def test_limits_are_read_from_text_and_written_with_their_unit(self, row: Requirement, limits: list[float]) -> None:
        """What is shown can be read again; numbers pass as they are."""
        assert len(self.texts) >= 2
        for limit in limits:
            assert math.isfinite(limit)
            assert row.limit(limit) == limit
            assert row.show(limit) in row.asks(limit)
        strict, loose = limits[0], limits[-1]
        assert row.worse(loose, strict)

    def test_what_is_no_limit_is_refused_by_its_option(self, row: Requirement) -> None:
        """In one line."""
        for text in self.refused:
            with pytest.raises(AdvisorError, match=row.option) as caught:
                row.limit(text, row.option)
            assert "\n" not in str(caught.value)

    def test_a_value_at_the_limit_meets_it_and_one_beyond_misses_it(
        self, row: Requirement, limits: list[float]
    ) -> None:
        """By the difference, in its unit; what was not measured is not met."""
        strict, loose = limits[0], limits[-1]
        assert row.missed_by(Estimate.exact(strict), strict) == 0
        assert row.missed_by(Estimate.exact(strict), loose) == 0
        assert row.missed_by(Estimate.exact(loose), strict) == pytest.approx(abs(loose - strict))
        assert math.isnan(row.missed_by(Estimate(math.nan), strict))
        assert math.isnan(row.missed_by(None, strict))

    def test_a_cautious_row_is_held_against_the_unfavourable_end(self, row: Requirement, limits: list[float]) -> None:
        """The interval counts, not the value alone."""
        strict, spread = limits[0], abs(limits[-1] - limits[0]) or 1.0
        around = Estimate(strict, spread, strict - spread, strict + spread)
        assert (row.missed_by(around, strict) > 0) == row.cautious

    def test_it_is_a_budget_and_an_objective(self, row: Requirement, limits: list[float]) -> None:
        """By its name, in JSON, and among the quantities that can be best."""
        budgets = Budgets(**{row.name: self.texts[0]})
        assert getattr(budgets, row.name) == limits[0]
        assert Budgets.from_json(budgets.to_json()) == budgets
        assert objective(row.quantity) is row

    def test_a_plan_that_misses_it_says_by_how_much(self, row: Requirement, limits: list[float]) -> None:
        """A plan's predictions are read by the name of the measurement."""
        best = next(advice.best for advice in (make() for make in DEMOS.values()) if advice.best is not None)
        predicted = {**best.predicted, row.measurement: Estimate.exact(limits[-1])}
        plan = dataclasses.replace(best, predicted=predicted, verified={})
        assert plan.missing({row.name: limits[0]}) == {row.name: pytest.approx(abs(limits[-1] - limits[0]))}
        assert plan.missing({row.name: limits[-1]}) == {}
