from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.estimate import Estimate
from advisor.reports.content.quantities import digits, show, show_count, show_estimate, show_interval
from advisor.reports.content.tables import estimate_cell
from advisor.requirements import BUILT_IN, REQUIREMENTS


@pytest.mark.parametrize(
    ("value", "unit", "name", "text"),
    [
        (0.0123, "s", "latency", "12.3 ms"),
        (150528, "B", "bytes", "147 KiB"),
        (1.8194e9, "MAC", "macs", "1.82 G"),
        (999, "MAC", "macs", "999"),
        (0.004, "1", "accuracy_drop", "0.400 pp"),
        (0.9312, "1", "accuracy", "93.1 %"),
        (0.05249, "1", "score", "0.052"),
        (0.00012, "1", "score", "<0.001"),
        (0.0, "1", "score", "0"),
        (1.0, "1", "in_zone", "yes"),
        (0.0, "1", "in_zone", "no"),
        (12345.0, "1", "fisher", "12300"),
        (4.56e-7, "1", "fisher", "4.56e-07"),
        (2.5, "J", "edge_energy", "2.5 J"),
        (0.0206, "J", "edge_energy", "20.6 mJ"),
        (7.0, "dB", "a column nobody knows", "7.00 dB"),
    ],
)
def test_a_number_carries_its_unit(value: float, unit: str, name: str, text: str) -> None:
    assert show(value, unit, name) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["latency", "score", "macs", "accuracy", "in_zone", "other"])
def test_what_is_no_number_is_not_measured(value: float, name: str) -> None:
    assert show(value, "s", name) == "not measured"
    assert show_estimate(Estimate(value), name) == "not measured"


def test_an_absent_estimate_is_not_measured() -> None:
    assert show_estimate(None) == "not measured"


@given(st.floats(min_value=-1e12, max_value=1e12).filter(lambda v: abs(v) > 1e-12))
def test_three_significant_digits(value: float) -> None:
    assert float(digits(value)) == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
@pytest.mark.parametrize("value", [0.0742, 0.5, 2048.0, 85500.0])
def test_what_is_found_is_written_as_its_limit_is(name: str, value: float) -> None:
    row = REQUIREMENTS[name]
    if row.unit == "1" and value > 1:
        return
    value = float(round(value)) if row.unit == "MAC" else value
    assert show(value, row.unit, row.measurement) == row.show(value)


def test_a_lower_bound_is_one_in_a_table_too() -> None:
    found = Estimate(0.0123, 0.001, 0.0112, 0.014, "s", "bounded")
    assert str(estimate_cell(found, "latency")) == show_estimate(found, "latency") == "≥ 12.3 ms (11.2–14 ms)"


@given(st.floats(min_value=1, max_value=1e15))
def test_counts_keep_their_magnitude(value: float) -> None:
    number, _, prefix = show_count(value).partition(" ")
    factor = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[prefix]
    assert float(number) * factor == pytest.approx(value, rel=0.00501, abs=0.51)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.0123, 0.001, 0.0112, 0.014, "s"), "12.3 ms (11.2–14 ms)"),
        (Estimate(0.95e-3, 0.1, 0.9e-3, 1.1e-3, "s"), "950 µs (900 µs–1.1 ms)"),
        (Estimate(0.3, 0.2, -0.1, 0.7), "0.300 (-0.100 to 0.700)"),
        (Estimate.exact(0.3), "0.300"),
        (Estimate(0.3), "0.300 ±?"),
        (Estimate(0.3, math.nan, 0.3, 0.3), "0.300 ±?"),
        (Estimate(0.0123, 0.001, 0.0112, 0.014, "s", "bounded"), "≥ 12.3 ms (11.2–14 ms)"),
        (Estimate.exact(81.0, "1/s", "bounded"), "≤ 81.0/s"),
        (Estimate.exact(0.3, "1", "bounded"), "0.300"),
    ],
)
def test_the_interval_follows_the_value(estimate: Estimate, text: str) -> None:
    assert show_estimate(estimate) == text


def test_nan_has_no_interval() -> None:
    assert show_interval(Estimate(math.nan, 0.1, 0.0, 1.0)) == ""
