"""Budgets that no plan can keep together are named, from costs alone; one alone never is."""

from __future__ import annotations

import pytest

import advisor
from advisor.errors import BudgetError
from advisor.planning.preparing.contradictions import check_budgets
from advisor.profilers import link
from advisor.request import Request


@pytest.fixture(scope="module")
def cost(digits_net, digits_data):
    return advisor.profile(advisor.trace(digits_net, digits_data[0][:2]), "raspberry-pi-4b", "lte", "t4")


def asked(**budgets):
    return Request.of(model="torchvision:resnet18", **budgets)


def test_the_pair_is_named_where_each_alone_can_be_kept(cost):
    latency = cost["latency"].values
    assert latency.argmin() == len(latency) - 1  # so small a model runs fastest on the edge
    quick = float(latency[-1]) * 1.05
    memory = (cost["edge_memory"].values[1] + cost["edge_memory"].values[2]) / 2
    with pytest.raises(BudgetError, match=r"--max-latency .* and --max-edge-memory .* contradict each other") as caught:
        check_budgets(asked(max_latency=quick, max_edge_memory=memory), cost, link("lte"))
    assert caught.value.exit_code == 3
    check_budgets(asked(max_latency=quick), cost, link("lte"))
    check_budgets(asked(max_edge_memory=memory), cost, link("lte"))
    check_budgets(asked(max_latency=1.0, max_edge_memory=memory), cost, link("lte"))


def test_one_that_nothing_keeps_is_no_contradiction(cost):
    check_budgets(asked(max_latency=1e-9, max_edge_memory=1.0), cost, link("lte"))


def test_a_defense_may_shrink_what_is_sent_but_not_what_is_computed(cost):
    """The least latency counts the round trip alone: a bound of what is sent never contradicts."""
    least = cost["edge_latency"].values + cost["cloud_latency"].values + link("lte").rtt
    check_budgets(
        asked(max_latency=float(least[1]) * 1.001, max_edge_macs=float(cost["macs"].values[1])), cost, link("lte")
    )
    with pytest.raises(BudgetError, match="contradict"):
        check_budgets(
            asked(max_latency=float(least[1:-1].min()) * 0.999, max_edge_macs=float(cost["macs"].values[1])), cost,
            link("lte"),
        )  # fmt: skip
