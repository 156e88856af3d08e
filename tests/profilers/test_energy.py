from __future__ import annotations

import math

import numpy as np
import pytest

from advisor.estimate import Estimate
from advisor.graph import PartitionGraph
from advisor.profilers import energy
from advisor.profilers.machines.catalog import device
from advisor.profilers.support.context import ProfilingContext
from advisor.profilers.transmission.network import link


def context(graph: PartitionGraph, device_key: str, link_text: str) -> ProfilingContext:
    return ProfilingContext(graph, device(device_key), link(link_text), device("t4"))


def test_compute_plus_radio_in_closed_form(graph: PartitionGraph) -> None:
    where = context(graph, "jetson-nano", "wifi-jointdnn")
    (column,) = energy.columns(where)
    edge = where.on_device.edge[1].value
    sent, answer = 8 * graph.cuts[1].message_bytes, 8 * graph.cuts[-1].message_bytes
    tx, rx = (283.17 * 18.88 + 132.86) * 1e-3, (137.01 * 54.97 + 132.86) * 1e-3
    assert column.values[1] == pytest.approx(10 * edge + tx * sent / 18.88e6 + rx * answer / 54.97e6)
    assert column.low[1] < column.values[1] < column.high[1]
    assert column.unit == "J"
    assert "unverified" in column.method


def test_all_on_the_edge_needs_no_radio(graph: PartitionGraph) -> None:
    where = context(graph, "jetson-nano", "wpt-lte")
    (column,) = energy.columns(where)
    assert column.values[-1] == pytest.approx(10 * where.on_device.whole.value)
    assert math.isnan(column.values[1])
    assert column.why[1] == "no sourced radio power of wpt-lte"
    assert column.why[-1] == ""


def test_unknown_power_is_not_a_number_with_a_reason(graph: PartitionGraph) -> None:
    (column,) = energy.columns(context(graph, "snapdragon-8-gen-3", "wifi"))
    assert math.isnan(column.values[-1])
    assert "no sourced active power of snapdragon-8-gen-3" in column.why[-1]
    assert column.values[0] > 0  # raw input: the radio alone


def test_what_a_defense_sends_is_what_the_radio_pays(graph: PartitionGraph) -> None:
    nano, wifi = device("jetson-nano"), link("wifi-jointdnn")
    edge = Estimate.of_mean(np.array([0.1, 0.2, 0.3]), "s")
    whole, half, nothing = (energy.edge_energy(nano, wifi, edge, sent, 0.0) for sent in (1e6, 5e5, 0.0))
    assert nothing.value == pytest.approx(10 * 0.2)
    assert whole.value - nothing.value == pytest.approx(2 * (half.value - nothing.value))
    assert whole.low == pytest.approx(10 * edge.low + whole.value - nothing.value)
    assert whole.source == "estimated"


def test_energy_without_a_source_says_why() -> None:
    found = energy.edge_energy(device("snapdragon-8-gen-3"), link("wpt-lte"), Estimate.exact(0.1, "s"), 1e3, 10.0)
    assert math.isnan(found.value)
    assert "no sourced active power of snapdragon-8-gen-3" in found.method
    assert "no sourced radio power of wpt-lte" in found.method
