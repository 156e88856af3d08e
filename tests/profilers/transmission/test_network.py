from __future__ import annotations

import math
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.profilers.transmission.network import link, links


def test_every_row_loads_with_a_source_and_a_round_trip() -> None:
    found = links()
    assert len(found) >= 48
    assert all(n.source and n.up > 0 and n.down > 0 and n.rtt_low <= n.rtt <= n.rtt_high for n in found)
    assert all(n.rtt > 0 for n in found)


def test_figures_are_si() -> None:
    lte = link("wpt-lte")
    assert (lte.up, lte.down, lte.rtt) == pytest.approx((12e6, 12e6, 0.07))
    assert lte.assumed == ()


def test_a_missing_round_trip_is_assumed_and_said() -> None:
    wifi = link("wifi")
    assert (wifi.rtt_low, wifi.rtt, wifi.rtt_high) == pytest.approx((0.002, 0.005, 0.02))
    assert "no source gives the round trip: 5 ms assumed" in wifi.assumed[0]
    assert "split computing" in wifi.stands_for


def test_radio_power_is_slope_times_rate_plus_base() -> None:
    wifi = link("wifi-jointdnn")
    assert wifi.tx_power == pytest.approx((283.17 * 18.88 + 132.86) / 1e3)
    assert wifi.rx_power == pytest.approx((137.01 * 54.97 + 132.86) / 1e3)
    assert link("ethernet-1g").tx_power == pytest.approx(0.6)


def test_given_link() -> None:
    given = link("bandwidth=20Mbps, rtt=15ms, jitter=2ms")
    assert (given.up, given.down, given.rtt, given.jitter) == pytest.approx((20e6, 20e6, 0.015, 0.002))
    assert given.assumed == ("no rate down given: the rate up was taken",)
    assert link("bandwidth=20Mbps,rtt=15ms,down=1Gbps").down == 1e9


def test_a_rate_alone_is_the_bandwidth() -> None:
    given = link("2Mbps,rtt=50ms,down=1.5Gbps")
    assert (given.up, given.down, given.rtt) == (2e6, 1.5e9, 0.05)


def test_changed_preset() -> None:
    changed = link("wifi,rtt=3ms")
    assert (changed.up, changed.rtt, changed.rtt_high) == pytest.approx((18.88e6, 0.003, 0.003))
    assert changed.assumed == ()
    assert "changed by the user" in changed.stands_for
    assert math.isnan(link("wifi,bandwidth=1Mbps").tx_power)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wiffi", "no link 'wiffi'.*wifi"),
        ("bandwidth=20Mbps", "gives no rtt.*rtt=15ms"),
        ("2Mbps", "'2Mbps' gives no rtt.*bandwidth=20Mbps,rtt=15ms"),
        ("2xMbps,rtt=3ms", "'2xMbps' is not a rate"),
        ("rtt=3ms", "gives no bandwidth"),
        ("bandwidth=0Mbps,rtt=3ms", "must be above zero"),
        ("bandwidth=-1Mbps,rtt=3ms", "not a rate"),
        ("bandwidth=nan,rtt=3ms", "not a rate"),
        ("bandwidth=3Mbps,rtt=3parsec", "not a duration"),
        ("bandwidth=3Mbps,rtt=3ms,colour=red", "no 'colour'"),
    ],
)
def test_bad_links(text: str, message: str) -> None:
    with pytest.raises(AdvisorError, match=message):
        link(text)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("up_mbps = 3", "no rtt_ms.*never free"),
        ("rtt_ms = 3", "no up_mbps"),
        ("up_mbps = -3\nrtt_ms = 3", "up_mbps = -3 is not between"),
        ("up_mbps = 3\nrtt_ms = nan", "rtt_ms = nan is not between"),
        ("up_mbps = 3\nrtt = 3", "unknown key 'rtt'.*rtt_ms"),
    ],
)
def test_absurd_rows_are_refused(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"[links.mine]\n{row}\n")
    with pytest.raises(AdvisorError, match=message):
        link("mine", path)


def test_own_rows_join(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[links.lab]\nup_mbps = 3\nrtt_ms = 4\n")
    assert link("lab", path).up == 3e6
    assert {"lab", "wifi-jointdnn"} <= {n.name for n in links(path)}
