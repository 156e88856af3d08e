"""Portfolios: which few plans, and when an edge switches, against every subset and hand-made traces."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import advisor
from advisor.planning.outlooks.portfolio import EXHAUSTIVE, fewest, spread_out, walked
from advisor.planning.outlooks.repricing import Repricer, at_rate
from advisor.testing.made_up_advices import resnet

LOOSE = {"max_latency": "none", "min_nmse": 0.3}
losses = st.lists(
    st.lists(st.sampled_from([0.0, 0.01, 0.1, 0.5, math.inf]), min_size=6, max_size=6), min_size=1, max_size=6
)


@settings(deadline=None)
@given(losses, st.integers(1, 4))
def test_no_set_of_as_many_plans_serves_more_or_loses_less(rows, most):
    table = np.array(rows)
    found = fewest(table, most)
    least = table[found].min(axis=0) if found else np.full(6, math.inf)
    unserved = np.isinf(least).sum()
    for other in itertools.combinations(range(len(rows)), min(most, len(rows))):
        theirs = table[list(other)].min(axis=0)
        assert unserved <= np.isinf(theirs).sum()
        if unserved == np.isinf(theirs).sum() == 0:
            assert least.mean() <= theirs.mean() + 2e-3 * most
    assert len(found) <= most


def test_what_adds_nothing_is_left_out_and_where_nothing_meets_is_no_reason():
    table = np.array([[0.0, 0.0, math.nan], [0.0, 0.0, math.nan], [0.2, 0.1, math.nan]])
    assert fewest(table, 3) == [0]
    assert fewest(np.full((2, 3), math.nan), 2) == []
    assert fewest(np.zeros((0, 3)), 2) == []


def test_many_plans_are_added_one_by_one():
    count = 60
    table = np.full((count, count), math.inf)
    np.fill_diagonal(table, 0.0)
    assert math.comb(count, 4) > EXHAUSTIVE
    assert len(fewest(table, 5)) == 5


def test_hysteresis_saves_switches_on_a_trace():
    fast, slow = [0.0, 0.03, 0.0, 0.03, 0.0, 0.4], [0.03, 0.0, 0.03, 0.0, 0.03, 0.0]
    table = np.array([fast, slow])
    assert walked(table, 0.0) == 5
    assert walked(table, 0.05) == 1
    assert walked(np.array([[0.0, math.inf, math.nan, 0.0], [1.0, 0.0, math.nan, 1.0]]), 0.05) == 2


def test_a_long_trace_is_thinned_from_end_to_end():
    trace = [(float(i), 1.0, 0.0) for i in range(100_000)]
    kept = spread_out(trace)
    assert len(kept) == 400
    assert (kept[0], kept[-1]) == (trace[0], trace[-1])


def test_an_edge_switches_where_staying_costs_the_hysteresis():
    advice = resnet()
    found = advisor.whatif(advice, "0.5..200Mbps", portfolio=2, hysteresis=0.05, **LOOSE)
    assert found.portfolio is not None
    (switch,) = found.portfolio.switches
    repricer = Repricer.of(advice)

    def latency(letter: str, rate: float) -> float:
        plan = found.option(letter).plan
        return repricer.over(plan, at_rate(repricer.link, rate)).predicted["latency"].value

    below, above = switch.below, switch.above
    assert latency(below, switch.at) == pytest.approx(latency(above, switch.at), rel=1e-6)
    assert latency(below, switch.up) == pytest.approx(1.05 * latency(above, switch.up), rel=1e-6)
    assert latency(above, switch.down) == pytest.approx(1.05 * latency(below, switch.down), rel=1e-6)
    assert switch.down < switch.at < switch.up
    assert found.portfolio.served == 1
    assert 0 <= found.portfolio.loss <= found.portfolio.most_loss < 0.05


def test_where_a_plan_stops_meeting_the_requirements_the_edge_goes_at_once():
    advice = resnet()
    found = advisor.whatif(advice, "5..200Mbps", portfolio=3, max_latency="24ms", min_nmse=0.3, hysteresis=1.0)
    assert found.portfolio.served < 1
    assert found.segments[0].letter == "–"
    for switch in found.portfolio.switches:
        assert switch.down is None or switch.down <= switch.at


def test_a_trace_is_served_measurement_by_measurement(tmp_path):
    rates = [1, 2, 60, 80, 2, 1, 90, 50]
    file = tmp_path / "lte.csv"
    file.write_text("up_mbps,rtt_ms\n" + "".join(f"{rate},20\n" for rate in rates))
    found = advisor.whatif(resnet(), f"trace={file}", portfolio=2, **LOOSE)
    assert (found.axes[0].low, found.axes[0].high) == (1e6, 90e6)
    assert found.portfolio.measurements == 8
    assert found.portfolio.served == 1
    assert found.portfolio.changes == 3  # slow, fast, slow, fast
    assert found.portfolio.changes <= found.portfolio.changes_without
    one = advisor.whatif(resnet(), f"trace={file}", portfolio=1, **LOOSE)
    assert len(one.portfolio.letters) == 1
    assert one.portfolio.loss > found.portfolio.loss


def test_a_trace_of_one_bandwidth_is_a_single_question(tmp_path):
    file = tmp_path / "lte.csv"
    file.write_text("up_mbps,rtt_ms\n5,20\n5,30\n")
    assert advisor.whatif(resnet(), f"trace={file}", **LOOSE).axes == ()
