from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from advisor import profilers
from advisor.columns import Profile
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.profilers import Profiler
from advisor.progress import of_shares
from advisor.testing.profiler_contract import ProfilerContract
from advisor.tracing.tracer import trace

COLUMNS = {
    "macs": "1",
    "params": "1",
    "bytes": "B",
    "edge_memory": "B",
    "edge_swap": "B",
    "edge_latency": "s",
    "link_latency": "s",
    "cloud_latency": "s",
    "latency": "s",
    "throughput": "1/s",
    "edge_energy": "J",
}


@pytest.fixture(scope="module")
def found(graph: PartitionGraph) -> Profile:
    return profilers.profile(graph)


class TestEveryProfiler(ProfilerContract):
    @pytest.fixture(params=list(profilers.PROFILERS))
    def profiler(self, request: pytest.FixtureRequest) -> Profiler:
        return profilers.PROFILERS[request.param]

    @pytest.fixture
    def graph(self, residual: nn.Module) -> PartitionGraph:
        return trace(residual, torch.zeros(2, 3, 8, 8))


def test_units_and_directions(found: Profile) -> None:
    for name, column in found.columns.items():
        assert column.unit == COLUMNS[name]
        assert column.better == ("high" if name == "throughput" else "low")


def test_all_columns_and_their_order(found: Profile) -> None:
    assert set(found.columns) == set(COLUMNS)


def test_latency_is_the_sum_of_its_parts(found: Profile) -> None:
    parts = sum(found[name].values for name in ("edge_latency", "link_latency", "cloud_latency"))
    assert found["latency"].values == pytest.approx(parts)
    spread = sum((found[n].high - found[n].values) ** 2 for n in ("edge_latency", "link_latency", "cloud_latency"))
    assert found["latency"].high - found["latency"].values == pytest.approx(np.sqrt(spread))


def test_ends(found: Profile, graph: PartitionGraph) -> None:
    """Cut 0 sends the input and computes nothing on the edge; the last cut sends nothing."""
    assert found["edge_latency"].values[0] == found["macs"].values[0] == found["params"].values[0] == 0
    assert found["link_latency"].values[-1] == found["cloud_latency"].values[-1] == 0
    assert found["edge_latency"].values[-1] == float(profilers.estimate(graph, "jetson"))
    assert found["cloud_latency"].values[0] == float(profilers.estimate(graph, "t4"))


def test_edge_work_never_falls_with_depth(found: Profile) -> None:
    for name in ("macs", "params", "edge_memory", "edge_latency"):
        assert (np.diff(found[name].values) >= 0).all(), name


def test_provenance_says_what_was_assumed(found: Profile) -> None:
    assert found.provenance["device"]["key"] == "jetson-orin-nano-super:tensorrt:fp16"
    assert found.provenance["device"]["loads"] == ["onnx"]
    assert found.provenance["device"]["idle_power"] is None
    notes = " ".join(found.provenance["cost"]["notes"])
    assert "borrowed from kin" in notes
    assert "5 ms assumed" in notes
    assert found["latency"].source == "estimated"


def test_survives_json(found: Profile) -> None:
    text = json.dumps(found.to_json(), allow_nan=False)
    again = Profile.from_json(json.loads(text))
    assert again["latency"].values == pytest.approx(found["latency"].values)
    assert again.provenance == found.provenance


def test_a_half_that_does_not_fit_is_named(graph: PartitionGraph, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[devices.tiny]\nunit = "gpu"\ndefault = "tensorrt:fp16"\n'
        "fp16_tflops = 1\nbandwidth_gbs = 10\nmemory_gb = 8e-6\n"
    )
    found = profilers.profile(graph, device="tiny", extra=path)
    (note,) = [note for note in found.provenance["cost"]["notes"] if "does not fit at" in note]
    assert "output" in note
    assert f"up to {(found['edge_memory'].values.max() - 8e3) / 1e9:.3g} GB would be swapped" in note
    assert found["edge_swap"].values == pytest.approx(np.maximum(found["edge_memory"].values - 8e3, 0))
    assert found["edge_swap"].values[0] == 0 < found["edge_swap"].values[-1]


def test_whether_a_half_fits_is_unknown_where_the_memory_is(graph: PartitionGraph, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[devices.vague]\nunit = "gpu"\ndefault = "tensorrt:fp16"\nfp16_tflops = 1\nbandwidth_gbs = 10\n')
    found = profilers.profile(graph, device="vague", extra=path)["edge_swap"]
    assert np.isnan(found.values).all()
    assert found.why[-1] == "the memory of vague:tensorrt:fp16 is unknown"


def test_local_is_measured(graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advisor.profilers.boards.measured.TIME_LIMIT", 0.5)
    shares: list[float] = []
    found = profilers.profile(graph, device="local", progress=of_shares(shares.append))
    assert found["edge_latency"].source == "measured"
    assert found["latency"].source == "estimated"
    assert shares[-1] == 1.0
    assert "measured in eager PyTorch" in " ".join(found.provenance["cost"]["notes"])
    assert "no sourced active power of local" in found["edge_energy"].why[-1]


def test_unknown_names(graph: PartitionGraph) -> None:
    with pytest.raises(AdvisorError, match=r"no device 'jetsn'.*jetson"):
        profilers.profile(graph, device="jetsn")
    with pytest.raises(AdvisorError, match=r"no link 'wify'.*wifi"):
        profilers.profile(graph, link="wify")


def test_two_inputs_both_cross_at_the_start() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(4, 3), nn.Linear(2, 3)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.left(a) + self.right(b))

    found = profilers.profile(trace(Two().eval(), (torch.zeros(2, 4), torch.zeros(2, 2))))
    assert found["bytes"].values[0] == 24
    assert found["macs"].values[-1] == 18
    assert found["params"].values[-1] == 24


def test_calling_twice_and_importing_modules_keeps_the_functions(graph: PartitionGraph) -> None:
    for name in ("machines.catalog", "energy", "boards.measured", "transmission.network", "transmission.transfer"):
        importlib.import_module(f"advisor.profilers.{name}")
    for _ in range(2):
        assert profilers.estimate(graph, "t4").value > 0
        assert profilers.link("wifi").name == "wifi-jointdnn"
        assert len(profilers.links()) > 40
        assert len(profilers.devices()) > 40


def test_the_catalog_needs_no_torch() -> None:
    code = (
        "import sys, advisor.profilers as p; p.device('jetson'); p.link('wifi');"
        "print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
