from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from advisor import profilers
from advisor.columns import Column, Profile
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.profilers.support import imported_profile as given


def measured(graph: PartitionGraph, cloud: str) -> Profile:
    """As if a device had been measured: its edge times are 1 ms a cut."""
    found = profilers.profile(graph, "t4", "lte", "t4")
    edge = Column.of("edge_latency", "s", "low", [1e-3 * i for i in range(len(graph.cuts))], "measured")
    server = dataclasses.replace(found["cloud_latency"], source=cloud)
    return Profile(graph.cuts, {**found.columns, "edge_latency": edge, "cloud_latency": server}, found.provenance)


@pytest.mark.parametrize("cloud", ["measured", "estimated"])
def test_edge_times_are_the_given_ones_and_the_link_is_the_one_that_is_asked_for(
    graph: PartitionGraph, cloud: str
) -> None:
    cost, earlier = profilers.profile(graph, "jetson", "wifi", "jetson"), measured(graph, cloud)
    found = given.joined(cost, earlier)
    assert found["edge_latency"].values == pytest.approx(earlier["edge_latency"].values)
    assert found["link_latency"].values == pytest.approx(cost["link_latency"].values)
    source = earlier if cloud == "measured" else cost
    assert found["cloud_latency"].values == pytest.approx(source["cloud_latency"].values)
    parts = np.sum([found[name].values for name in given.LATENCIES], axis=0)
    assert found["latency"].values == pytest.approx(parts)
    assert found.provenance["device"]["key"] == earlier.provenance["device"]["key"]
    assert found.provenance["link"]["key"] == "wifi-jointdnn"


def test_energy_is_that_of_the_measured_device_over_the_link_that_is_asked_for(graph: PartitionGraph) -> None:
    """Whatever link the earlier profile had, and through a file."""
    cost = profilers.profile(graph, "jetson", "wifi", "t4")
    earlier = profilers.profile(graph, "jetson-nano", "wpt-lte", "t4")
    assert np.isnan(earlier["edge_energy"].values[1])  # nobody published the power of that radio
    found = given.joined(cost, Profile.from_json(json.loads(json.dumps(earlier.to_json()))))["edge_energy"]
    assert found.values == pytest.approx(profilers.profile(graph, "jetson-nano", "wifi", "t4")["edge_energy"].values)
    silent = given.joined(profilers.profile(graph, "jetson", "wpt-lte", "t4"), earlier)["edge_energy"]
    assert silent.why[1] == "no sourced radio power of wpt-lte"
    assert silent.values[-1] == found.values[-1]


def test_a_file_that_was_cut_off_or_is_of_a_newer_version(graph: PartitionGraph, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    measured(graph, "measured").save(path)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(AdvisorError, match=r"not readable JSON.*may be truncated"):
        Profile.load(path)
    path.write_text(text.replace('"schema_version": "1', '"schema_version": "9'))
    with pytest.raises(AdvisorError, match=r"newer than this advisor's.*Upgrade"):
        Profile.load(path)
