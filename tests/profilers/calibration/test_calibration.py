from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from advisor import profilers
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.profilers.calibration import kinds as calibration
from advisor.profilers.calibration import microbenchmarks
from advisor.profilers.calibration.calibrating import calibrate
from advisor.profilers.calibration.chains import chain
from advisor.profilers.calibration.drawn_chain import Chain
from advisor.profilers.calibration.operators import KINDS, Convolution, Operator, described, in_turn, operators
from advisor.profilers.multiply_adds.counting import count
from advisor.tracing.tracer import trace


class Spectrum(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(x).abs()


def truth(operator: Operator) -> float:
    """A made-up machine: a roofline, slower for few channels."""
    calls, arithmetic, traffic, weights, cold, chilled = operator.row()
    called = 5e-6 * calls + 2e-5 * cold + 5e-6 * chilled
    return (called + 2e-11 * arithmetic + 5e-11 * traffic + 2e-10 * weights) * (
        1.0 + 2.0 / (1.0 + math.log1p(operator.channels))
    )


def benchmarks(count: int, seed: int = 0) -> list[microbenchmarks.Timed]:
    rng, found = random.Random(seed), list[microbenchmarks.Timed]()
    while len(found) < count:
        found += [(one, truth(one)) for one in in_turn([step.operator for step in chain(rng).steps])]
    return found


@pytest.fixture(scope="module")
def kinds() -> dict[str, calibration.Kind]:
    return calibration.fit(benchmarks(2500))


def test_operators_that_were_not_timed_are_predicted(kinds: dict[str, calibration.Kind]) -> None:
    assert set(kinds) == set(KINDS)
    unseen = benchmarks(500, seed=1)
    wrong = [abs(kinds[o.kind].seconds(o) / seconds - 1) for o, seconds in unseen]
    assert np.median(wrong) < 0.03
    assert np.quantile(wrong, 0.9) < 0.15


def test_the_left_out_error_is_that_of_leaving_out() -> None:
    """The closed form against refitting without each benchmark."""
    members = [(o, s) for o, s in benchmarks(500) if o.kind == "conv"]
    points = np.array([o.point() for o, _ in members])
    residual = np.random.default_rng(0).normal(size=len(points))
    _, error, _ = calibration._process(points, residual, 1.0, 0.1)
    wrong = []
    for out in range(len(points)):
        kept = np.arange(len(points)) != out
        weights, _, _ = calibration._process(points[kept], residual[kept], 1.0, 0.1)
        alike = calibration.SPREAD**2 * calibration._likeness(points[[out]], points[kept], 1.0)[0]
        wrong.append(residual[out] - alike @ weights)
    assert error == pytest.approx(np.sqrt(np.mean(np.square(wrong))))


@pytest.fixture(scope="module")
def small() -> list[Chain]:
    """Chains that take little time."""
    rng = random.Random(1)
    drawn = [chain(rng) for _ in range(300)]
    return [one for one in drawn if sum(s.operator.macs + s.operator.weights for s in one.steps) < 3e7][:90]


def test_shapes_are_described_as_torch_computes_them(small: list[Chain]) -> None:
    kinds = set()
    for one in small:
        module, given = microbenchmarks.built(one, stamped=False)
        seen = Recorder(module)
        with torch.no_grad():
            seen.run(given)
        for step, value in zip(one.steps, seen.values, strict=True):
            first = value[0] if isinstance(value, tuple | list) else value
            assert (
                step.name == "chunk.default"
                or tuple(first.shape[1:] if first.shape[0] == 1 else first.shape) == step.shape
            )
            assert torch.isfinite(first).all(), step.name
            kinds.add(step.operator.kind)
    assert kinds == set(KINDS)


class Recorder(torch.fx.Interpreter):
    """Keeps what every step returns."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.values: list[Any] = []

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        self.values.append(super().call_function(target, args, kwargs))
        return self.values[-1]


def test_a_network_is_described_as_the_chains_are(small: list[Chain]) -> None:
    """What is learnt of an operator in a chain is looked up for the same one in a network."""
    compared = 0
    any_batch = [one for one in small if not any(s.name in ("view.default", "reshape.default") for s in one.steps)]
    for one in any_batch[:12]:
        module, given = microbenchmarks.built(one, stamped=False)
        graph = trace(module.eval(), given)
        found = {replace(o, since=0, near=0) for piece in operators(graph) for o in piece if o.kind != "view"}
        assert found <= {step.operator for step in one.steps}
        compared += len(found)
    assert compared > 40


def test_what_a_convolution_is_handed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own rule: with one thread, plain 1×1 convolutions and small images are a matrix product."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = Convolution([1, 1], [0, 0], [1, 1], 1)
        large, small = [(64, 56, 56)], [(64, 8, 8)]
        window, point = (64, 64, 3, 3), (64, 64, 1, 1)
        found = [
            described("conv2d", [held], given, 1, 1, 1, plain).kind
            for held, given in ((window, large), (window, small), (point, large))
        ]
    finally:
        torch.set_num_threads(threads)
    has_library = torch.backends.mkldnn.is_available()
    assert found == (["conv", "conv_gemm", "conv_gemm"] if has_library else ["conv_gemm"] * 3)


def test_what_goes_by_between_two_runs_of_one_code() -> None:
    """Against counting back literally, round and round."""
    rng = random.Random(2)
    members = [step.operator for step in chain(rng).steps]
    for i, found in enumerate(in_turn(members)):
        since, back = 0.0, i - 1
        while members[back].code != members[i].code:
            since, back = since + members[back].moved, back - 1
        assert found.since == pytest.approx(since)
        assert found.near == members[i - 1].moved
    assert in_turn(members[:1])[0].since == 0


def test_a_copy_knows_how_much_lies_together() -> None:
    class Shuffled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = x.view(x.shape[0], 2, 4, 5, 5).transpose(1, 2).contiguous()
            return rows.view(x.shape[0], 8, 25).transpose(1, 2).contiguous() + 1

    graph = trace(Shuffled().eval(), torch.zeros(2, 8, 5, 5))
    found = [o for piece in operators(graph) for o in piece if o.kind == "copy"]
    assert [o.channels for o in found] == [25, 1]


def test_operators_of_a_network(graph: PartitionGraph) -> None:
    found = [o for piece in operators(graph) for o in piece]
    assert [o.kind for o in found] == ["conv_gemm", "pass", "conv_gemm", "norm", "add", "pass", "view", "row"]
    assert found[0].macs == 27 * 4 * 64
    assert (found[0].channels, found[0].kernel, found[0].weights) == (3, 9, 112)
    counted = count(graph)
    assert sum(o.macs for o in found) == counted.total - 256 * 2  # batch norm's arithmetic is counted too


class Products(nn.Module):
    """Products that are no layer of their own, and recurrent layers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(32, 64))
        self.lstm, self.cell = nn.LSTM(64, 48, 2, batch_first=True), nn.GRUCell(48, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.einsum("ntd,de->nte", x @ self.weight, self.weight.T @ self.weight)
        return self.cell(self.lstm(y)[0][:, -1])


def test_every_product_has_its_multiply_adds() -> None:
    graph = trace(Products(), torch.rand(2, 20, 32))
    found = [o for piece in operators(graph) for o in piece]
    assert sum(o.macs for o in found) == pytest.approx(count(graph).total, rel=0.01)
    assert sum(o.kind == "row" for o in found) == 20 * 2 + 1  # each step of each layer, and the cell
    assert all(kind in KINDS for kind in {o.kind for o in found})


def test_a_transposed_convolution_multiplies_for_what_it_reads() -> None:
    graph = trace(nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1).eval(), torch.zeros(2, 8, 5, 5))
    (found,) = (o for piece in operators(graph) for o in piece)
    assert (found.kind, found.channels, found.kernel) == ("conv", 8, 16)
    assert found.macs == count(graph).total == 8 * 25 * 6 * 16


def test_grouped_convolutions_and_attention() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depth, self.group = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.group(self.depth(x)).flatten(2)
            return nn.functional.scaled_dot_product_attention(z, z, z)

    graph = trace(Mixed().eval(), torch.zeros(2, 8, 9, 9))
    found = [o for piece in operators(graph) for o in piece]
    assert [o.kind for o in found] == ["depthwise", "grouped", "view", "attention"]


def test_a_device_file_joins_the_catalog(
    graph: PartitionGraph, kinds: dict[str, calibration.Kind], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(calibration.toml("mine", kinds, {"unit": "cpu", "default": "pytorch-eager:fp32", "memory_gb": 4.0}))
    for device, extra in ((str(path), None), (f"{path}:mine", None), ("mine", path)):
        found = profilers.profile(graph, device, extra=extra)
        expected = sum(truth(o) for piece in operators(graph) for o in piece)
        assert found["edge_latency"].values[-1] == pytest.approx(expected, rel=0.25)
        assert found["cloud_latency"].values[-1] == 0
        assert "micro-benchmarks" in found["edge_latency"].method
    halves = calibration.halves(graph, str(path), "mine")
    for edge, cloud in zip(halves.edge, halves.cloud, strict=True):
        assert edge.value + cloud.value == pytest.approx(halves.whole.value)
        assert edge.low <= edge.value <= edge.high
    assert profilers.device("mine", path).memory == 4e9


def test_times_of_what_nobody_counts_are_lower_bounds_on_a_calibrated_device(
    kinds: dict[str, calibration.Kind], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(calibration.toml("mine", kinds, {"unit": "cpu", "default": "pytorch-eager:fp32", "memory_gb": 4.0}))
    model = nn.Sequential(nn.Linear(6, 6), Spectrum(), nn.Linear(4, 2)).eval()
    found = profilers.profile(trace(model, torch.rand(2, 6)), str(path))
    for name in ("edge_latency", "latency", "throughput", "edge_energy"):
        assert found[name].source == "bounded", name
    assert "nobody knows how to count fft_rfft" in found["edge_latency"].method


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seconds_per_op = ", "seconds_per_op = -", "absurd figures"),
        ("length = ", "size = ", "is damaged"),
        ("memory_gb = 4", "memory_gb = -4", "memory_gb = -4 is not between"),
        ("[calibrations.mine", "[calibrations.other", "no published latency|kin"),
    ],
)
def test_damaged_device_files(
    graph: PartitionGraph, kinds: dict[str, calibration.Kind], tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    text = calibration.toml("mine", kinds, {"unit": "npu", "default": "pytorch-eager:fp32", "memory_gb": 4.0})
    path.write_text(text.replace(old, new))
    with pytest.raises(AdvisorError, match=f"(?i){message}"):
        profilers.profile(graph, str(path))


def test_which_device_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text("[devices.a]\n[devices.b]\n")
    with pytest.raises(AdvisorError, match=r"has 2 devices: a, b.*two.toml:NAME"):
        profilers.device(str(path))
    with pytest.raises(AdvisorError, match=r"There is no file"):
        profilers.device(str(tmp_path / "none.toml"))


def test_a_short_calibration_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Real operators are timed, the generator of shapes is repeatable, and the file that follows is usable."""
    monkeypatch.setattr(calibration, "SMALLEST", 1)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    shares: list[float] = []
    text = calibrate("here", 6.0, shares.append)
    (tmp_path / "here.toml").write_text(text)
    assert profilers.device(str(tmp_path / "here.toml")).copy_rate > 1e8
    assert "threads" in text
    assert shares == sorted(shares)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(AdvisorError, match=r"no name for a device"):
        calibrate("two words")
    with pytest.raises(AdvisorError, match=r"micro-benchmarks are too few"):
        calibrate("here", 0.0)
