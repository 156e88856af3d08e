"""Units as people write and read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.errors import AdvisorError
from advisor.units import (
    digits,
    duration,
    latency,
    rate,
    share,
    show_duration,
    show_points,
    show_ratio,
    show_share,
    show_size,
    size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50ms", 0.05), ("0.05s", 0.05), ("0.05", 0.05), (0.05, 0.05), ("2min", 120), ("1h", 3600), ("7us", 7e-6),
        ("7µs", 7e-6), (" 50 ms ", 0.05), ("50MS", 0.05), ("5e1ms", 0.05), (".5s", 0.5), ("+3s", 3), ("0", 0),
    ],
)  # fmt: skip
def test_durations(text: str | float, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("value", "text"), [(math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"), (-0.0, "0")])
def test_what_is_no_finite_number_is_shown_as_such(value: float, text: str) -> None:
    """A file may hold it."""
    assert digits(value) == show_ratio(value) == text
    assert show_points(value) == f"{text} pp"


@pytest.mark.parametrize(("text", "fraction"), [("2%", 0.02), ("0.02", 0.02), ("2pp", 0.02), (0.5, 0.5), ("100 %", 1)])
def test_shares(text: str | float, fraction: float) -> None:
    assert share(text) == pytest.approx(fraction)


@pytest.mark.parametrize(
    ("text", "count"), [("1GiB", 2**30), ("500MB", 5e8), ("500mb", 5e8), ("4KiB", 4096), ("12", 12), ("12B", 12)]
)
def test_sizes(text: str, count: float) -> None:
    assert size(text) == count


@pytest.mark.parametrize(("text", "bits"), [("20Mbps", 2e7), ("1Gbps", 1e9), ("64kbps", 64e3), ("100", 100)])
def test_rates(text: str, bits: float) -> None:
    assert rate(text) == bits


@pytest.mark.parametrize("text", ["", "ms", "5 parsecs", "-5ms", "nan", "inf", "1e999", "5ms3", "five", "5,0ms", "5%"])
def test_what_is_no_duration_shows_one(text: str) -> None:
    with pytest.raises(AdvisorError, match=r"is not a duration such as 50ms or 0\.2s"):
        duration(text)


@pytest.mark.parametrize(
    ("given", "seconds"), [("50ms", 0.05), (" 2 s", 2), ("0", 0), ("0.05", 0.05), (50, 50), (0.05, 0.05)]
)
def test_latencies_of_a_second_have_a_unit(given: str | float, seconds: float) -> None:
    assert latency(given) == seconds


@pytest.mark.parametrize("text", ["50", "1", " 50 ", "5e1"])
def test_a_latency_of_seconds_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(AdvisorError, match=rf"states no unit\. Write {text.strip()}ms or {text.strip()}s"):
        latency(text)


def test_what_is_no_size_share_or_rate_shows_one() -> None:
    with pytest.raises(AdvisorError, match="'5ms' is not a size such as 1GiB or 500MB"):
        size("5ms")
    with pytest.raises(AdvisorError, match=r"'5ms' is not a share such as 2% or 0\.02"):
        share("5ms")
    with pytest.raises(AdvisorError, match="'fast' is not a rate such as 20Mbps"):
        rate("fast")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12.3 ms"), (0.1, "100 ms"), (0.9996, "1 s"), (0.999, "999 ms"), (1.5, "1.5 s"), (99, "99 s"),
        (120, "2 min"), (7200, "2 h"), (3e-6, "3 µs"), (0, "0 µs"), (-0.5, "-500 ms"),
    ],
)  # fmt: skip
def test_durations_are_shown_in_three_digits(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1000, "1000 B"), (1023, "1023 B"), (1024, "1 KiB"), (150528, "147 KiB"), (3 * 2**30, "3 GiB")],
)
def test_sizes_are_shown_in_three_digits(count: float, text: str) -> None:
    assert show_size(count) == text


def test_shares_are_shown_in_percent() -> None:
    assert show_share(0.0123) == "1.23 %"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(1e-6, 1e6))
def test_what_is_shown_can_be_read(value: float) -> None:
    assert duration(show_duration(value)) == pytest.approx(value, rel=6e-3)
    assert size(show_size(math.ceil(value))) == pytest.approx(math.ceil(value), rel=6e-3)
    assert share(show_share(value)) == pytest.approx(value, rel=6e-3)
