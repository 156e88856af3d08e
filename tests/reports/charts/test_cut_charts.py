"""The line of cuts: a panel shows a course over the cuts, and the words beneath name what is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np

from advisor.advice import Advice
from advisor.columns import Column
from advisor.reports import REPORTS
from advisor.reports.charts.cut_charts import line_of_cuts, shows_limit
from advisor.requirements import Budgets
from advisor.testing.made_up_advices import digits


def with_energy(known: int) -> Advice:
    """Energy is known at the last cuts alone."""
    advice = digits()
    count = len(advice.profile.cuts)
    values = np.where(np.arange(count) >= count - known, 0.04, np.nan)
    column = Column.of("edge_energy", "J", "low", values, "estimated", why=("no sourced power figure",) * count)
    return dataclasses.replace(
        advice, profile=dataclasses.replace(advice.profile, columns={**advice.profile.columns, "edge_energy": column})
    )


def test_one_number_alone_makes_no_panel() -> None:
    assert "edge_energy" not in [chart.name for chart in line_of_cuts(with_energy(1))]
    assert "edge_energy" in [chart.name for chart in line_of_cuts(with_energy(2))]


def test_a_budget_is_explained_where_one_is_drawn() -> None:
    free, bound = (dataclasses.replace(digits(), budgets=budgets) for budgets in (Budgets(), Budgets(min_nmse=0.5)))
    assert not any(map(shows_limit, line_of_cuts(free)))
    assert any(map(shows_limit, line_of_cuts(bound)))
    words = "a dashed red line is a budget"
    assert (words in REPORTS["html"](free), words in REPORTS["html"](bound)) == (False, True)
