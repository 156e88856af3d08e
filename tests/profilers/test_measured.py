from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from advisor.graph import PartitionGraph
from advisor.profilers import measured
from advisor.profilers.measured import MIN_ROUNDS, WARM_UP, measure, median


class FakeTime:
    """A clock that only the timed work moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: Callable[[int], float]) -> Callable[..., int]:
        def step(*_: object) -> int:
            self.calls += 1
            self.now += seconds(self.calls)
            return 0

        return step


def test_steady_work_is_measured_exactly_and_stops_early() -> None:
    clock, shares = FakeTime(), []
    whole, pieces = clock.work(lambda _: 0.5), [clock.work(lambda _: 0.2), clock.work(lambda _: 0.4)]
    samples = measure(whole, pieces, (0,), clock, limit=100, progress=shares.append)
    assert len(samples.whole) == MIN_ROUNDS
    assert clock.calls == 3 * (MIN_ROUNDS + WARM_UP)
    assert samples.pieces == pytest.approx(np.tile([0.2, 0.4], (MIN_ROUNDS, 1)))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_noisy_work_stops_at_the_time_limit() -> None:
    clock = FakeTime()
    noise = np.random.default_rng(0).uniform(0.1, 2, 10_000)
    samples = measure(clock.work(lambda i: float(noise[i])), [clock.work(lambda _: 0.0)], (0,), clock, limit=50)
    assert 30 < len(samples.whole) < 80
    assert clock.now == pytest.approx(50, abs=10)


def test_pieces_are_scaled_to_the_whole_and_the_gap_is_said() -> None:
    samples = measured.Samples(np.full(7, 0.5), np.tile([0.2, 0.4], (7, 1)))
    found = measured._halves(samples, "test")
    assert [e.value for e in found.edge] == pytest.approx([0, 0.5 / 3, 0.5])
    assert [e.value for e in found.cloud] == pytest.approx([0.5, 1.0 / 3, 0])
    assert "+20.0 %" in found.notes[0]
    assert "each piece pays for its own call" in found.notes[0]


def test_median_interval_covers_the_true_median() -> None:
    rng = np.random.default_rng(0)
    for size in (9, 30, 101):
        found = [median(rng.exponential(size=size)) for _ in range(1000)]
        covered = np.mean([f.low <= np.log(2) <= f.high for f in found])
        assert 0.88 < covered < 0.97, size


def test_a_real_model_is_measured_and_left_as_found(residual: nn.Module, graph: PartitionGraph) -> None:
    threads, state, grad = torch.get_num_threads(), torch.get_rng_state(), torch.is_grad_enabled()
    found = measured.halves(graph, limit=0.5)
    assert len(found.edge) == len(found.cloud) == len(graph.cuts)
    for edge, cloud in zip(found.edge, found.cloud, strict=True):
        assert edge.value + cloud.value == pytest.approx(found.whole.value)
        assert (edge.source, edge.unit) == ("measured", "s")
    assert 0 < found.whole.value < 0.1
    assert f"{threads} threads" in found.notes[0]
    assert torch.equal(state, torch.get_rng_state())
    assert (threads, grad) == (torch.get_num_threads(), torch.is_grad_enabled())


def test_more_work_takes_longer() -> None:
    from advisor.tracing import trace

    with torch.random.fork_rng():
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 4)).eval()
    found = measured.halves(trace(model, torch.zeros(2, 8)), limit=2)
    pieces = np.diff([e.value for e in found.edge])
    assert pieces.argmax() == 2
