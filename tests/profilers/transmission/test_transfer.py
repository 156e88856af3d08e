from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import AdvisorError
from advisor.profilers.transmission.network import link
from advisor.profilers.transmission.transfer import (
    COPY_RATE,
    download,
    payload_within,
    percentile,
    serialisation,
    transfer,
    transfer_time,
    upload,
)

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


def test_the_parts_sum_to_the_whole() -> None:
    network = link("bandwidth=8Mbps,rtt=10ms,down=80Mbps")
    found = transfer(network, 1e6, 1e5, 1e9)
    assert (found.upload, found.round_trip, found.download) == pytest.approx((1.0, 0.01, 0.01))
    assert found.serialisation == pytest.approx(2.2e-3)
    assert found.total == pytest.approx(transfer_time(network, 1e6, 1e5, 1e9).value)


@pytest.mark.parametrize("name", ["wifi", "lora", "bandwidth=8Mbps,rtt=10ms"])
@pytest.mark.parametrize("seconds", [0.02, 0.3, 5.0, 4000.0])
def test_the_payload_that_fits_a_budget(name: str, seconds: float) -> None:
    """What it names fits, a byte more does not: found by trying."""
    network = link(name)
    most = payload_within(network, seconds, 100.0)
    if most:
        assert transfer(network, most, 100.0).total <= seconds
    assert transfer(network, most + 2, 100.0).total > seconds


def test_a_trace_gives_percentiles(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rates = np.random.default_rng(0).uniform(2, 30, 50)
    path.write_text("up_mbps,rtt_ms\n" + "\n".join(f"{rate},{10 + i % 5}" for i, rate in enumerate(rates)) + "\n")
    network = link(f"trace={path}")
    times = [8e6 / (rate * 1e6) + (10 + i % 5) * 1e-3 + serialisation(1e6) for i, rate in enumerate(rates)]
    for share in (0.05, 0.5, 0.9, 1.0):
        assert percentile(network, 1e6, share) == pytest.approx(np.quantile(times, share))
    found = transfer_time(network, 1e6)
    assert (found.low, found.value, found.high) == pytest.approx(np.quantile(times, [0.05, 0.5, 0.95]))
    assert network.up == pytest.approx(np.median(rates) * 1e6)
    assert network.down == network.up
    assert math.isnan(percentile(link("wifi"), 1e6, 0.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no trace of a link"),
        ("rate,rtt\n3,4\n", "no trace of a link.*up_mbps and rtt_ms"),
        ("up_mbps,rtt_ms\n3,4\n-1,4\n", r"line 3: up_mbps = -1 is not between"),
        ("up_mbps,rtt_ms\n3,fast\n", r"line 2: rtt_ms = fast is not between"),
        ("up_mbps,rtt_ms\n3\n", r"line 2: rtt_ms = None is not between"),
        ("up_mbps,rtt_ms\nnan,4\n", r"line 2: up_mbps = nan is not between"),
    ],
)
def test_what_is_no_trace(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(AdvisorError, match=message):
        link(f"trace={path}")


def test_options_of_a_trace_and_of_compression(tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match=r"no file .*nowhere"):
        link("trace=nowhere.csv")
    path = tmp_path / "trace.csv"
    path.write_text("up_mbps,down_mbps,rtt_ms\n8,16,10\n")
    assert link(f"trace={path},compress=zlib").compression == "zlib"
    assert link(f"trace={path}").down == 16e6
    assert link("wifi,compress=zlib").compression == "zlib"
    assert link("bandwidth=8Mbps,rtt=1ms,compress=zlib").compression == "zlib"
    with pytest.raises(AdvisorError, match=r"tells the rates.*Leave the others out"):
        link(f"trace={path},rtt=3ms")
    with pytest.raises(AdvisorError, match=r"no codec 'magic'.*compress=zlib"):
        link("wifi,compress=magic")
