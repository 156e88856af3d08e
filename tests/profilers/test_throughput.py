from __future__ import annotations

import math

import numpy as np
import pytest

from advisor import profilers
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.graph import PartitionGraph
from advisor.profilers.machines.catalog import device
from advisor.profilers.published.features import Work
from advisor.profilers.published.fits import fit_for
from advisor.profilers.throughput import batched, on_wire, pipeline
from advisor.profilers.transmission.network import link


def seconds(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, 0.1, low, high, "s", "estimated")


def simulated(stages: list[float], inputs: int) -> float:
    """Inputs a second of a pipeline of single workers, by following every input."""
    free = [0.0] * len(stages)
    for _ in range(inputs):
        at = 0.0
        for i, time in enumerate(stages):
            free[i] = at = max(at, free[i]) + time
    return inputs / free[-1]


def test_the_slowest_stage_sets_the_pace() -> None:
    stages = [0.02, 0.05, 0.01]
    found = pipeline([seconds(s, s / 2, s * 2) for s in stages])
    assert found.value == pytest.approx(simulated(stages, 10_000), rel=1e-3)
    assert (found.low, found.high, found.unit) == (pytest.approx(10), pytest.approx(40), "1/s")


def test_an_unknown_stage_makes_it_unknown() -> None:
    assert math.isnan(pipeline([seconds(1, 1, 1), Estimate(math.nan)]).value)


def test_a_round_trip_does_not_occupy_the_link() -> None:
    network = link("bandwidth=8Mbps,rtt=500ms,down=80Mbps")
    assert on_wire(network, 1e6).value == pytest.approx(1.0)
    assert on_wire(network, 1.0, answer=1e7).value == pytest.approx(1.0)
    assert on_wire(network, 0).value == 0


def test_the_column(graph: PartitionGraph) -> None:
    found = profilers.profile(graph, "jetson", "wifi", "t4")
    column = found["throughput"]
    for i in range(len(graph.cuts)):
        stages = max(found["edge_latency"].values[i], found["cloud_latency"].values[i])
        assert column.values[i] <= 1 / stages + 1e-9
        assert column.values[i] * found["latency"].values[i] >= 1 - 1e-9  # a pipeline is never slower than one by one
    assert column.values[-1] == pytest.approx(1 / found["edge_latency"].values[-1])


def test_a_batch_pays_for_calls_and_weights_once() -> None:
    fit, work = fit_for(device("jetson-nano:tensorrt:fp16")), Work(50, 1e9, 1e7, 1e6)
    one, rate = batched(fit, work, 1)
    assert one == pytest.approx(fit.seconds(work))
    assert rate == pytest.approx(1 / one)
    times = [batched(fit, work, batch)[0] for batch in (1, 2, 3)]
    assert np.diff(times) == pytest.approx([times[1] - times[0]] * 2)
    assert times[1] < 2 * times[0]


def test_estimates_of_batches(graph: PartitionGraph) -> None:
    one, eight = (profilers.estimate(graph, "jetson-nano:tensorrt:fp16", batch=b) for b in (1, 8))
    assert one.value < eight.value < 8 * one.value
    assert eight.low < eight.value < eight.high
    with pytest.raises(AdvisorError, match=r"batch of 2 cannot be estimated for local"):
        profilers.estimate(graph, "local", batch=2)
    with pytest.raises(AdvisorError, match=r"batch of 0"):
        profilers.estimate(graph, "t4", batch=0)
