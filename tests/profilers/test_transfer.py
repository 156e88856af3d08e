from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.profilers.network import link
from advisor.profilers.transfer import COPY_RATE, download, serialisation, transfer_time, upload

FEATURE_MAP = 56 * 56 * 64 * 4  # bytes


def test_parts_in_closed_form() -> None:
    network = link("bandwidth=8Mbps,rtt=10ms,down=80Mbps")
    assert upload(network, 1e6) == pytest.approx(1.0)
    assert download(network, 1e6) == pytest.approx(0.1)
    assert serialisation(1e6, 1e9) == pytest.approx(2e-3)
    assert serialisation(1e6, math.nan) == serialisation(1e6, COPY_RATE)
    found = transfer_time(network, 1e6, answer=1e6, copy_rate=1e9)
    assert found.value == pytest.approx(1.0 + 0.1 + 0.01 + 4e-3)
    assert (found.low, found.high, found.unit) == (found.value, found.value, "s")


def test_published_sanity_cases() -> None:
    """9.2 s over Bluetooth; over LoRaWAN SF7 20 minutes on air, 33 hours under its 1 % duty cycle."""
    assert upload(link("ble"), FEATURE_MAP) == pytest.approx(9.2, rel=0.01)
    assert upload(link("lora"), FEATURE_MAP) == pytest.approx(33 * 3600, rel=0.02)
    assert upload(link("lora"), 100) == pytest.approx(800 / 5470)


def test_jitter_and_an_assumed_round_trip_widen_the_interval() -> None:
    jittery = transfer_time(link("bandwidth=8Mbps,rtt=10ms,jitter=3ms"), 1000)
    assert (jittery.high - jittery.value, jittery.value - jittery.low) == pytest.approx((3e-3, 3e-3))
    wifi = transfer_time(link("wifi"), 1000)
    assert (wifi.high - wifi.value, wifi.value - wifi.low) == pytest.approx((15e-3, 3e-3))
    assert "5 ms assumed" in wifi.method


def test_nothing_sent_takes_no_time() -> None:
    assert transfer_time(link("wifi"), 0, answer=0).value == 0


@given(st.floats(1, 1e9), st.floats(1, 1e9))
def test_more_bytes_never_arrive_sooner(first: float, second: float) -> None:
    network = link("wpt-lte")
    small, large = sorted((first, second))
    assert transfer_time(network, small).value <= transfer_time(network, large).value
    assert transfer_time(network, small).value >= network.rtt
