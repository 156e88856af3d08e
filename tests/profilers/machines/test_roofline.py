from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.graph import PartitionGraph
from advisor.profilers.machines.catalog import device
from advisor.profilers.machines.roofline import halves, seconds
from advisor.profilers.multiply_adds.counting import count
from advisor.profilers.published.features import Work, cloud_work, edge_work, piece_work
from advisor.profilers.published.fits import Fit, same_for_all


class First(nn.Module):
    """Of what a recurrent layer returns, the sequence."""

    def forward(self, found: tuple[Tensor, Tensor]) -> Tensor:
        return found[0]


PIECES = (Work(), Work(2, 100, 10, 5), Work(3, 50, 0, 7), Work(1, 20, 30, 1))


def test_work_in_closed_form(graph: PartitionGraph) -> None:
    pieces = piece_work(graph, count(graph).pieces)
    whole = edge_work(pieces)[-1]
    weights = (3 * 9 * 4 + 4) + (4 * 9 * 4 + 4) + 4 * 4 + (256 * 5 + 5)
    assert whole.ops == 7  # conv, relu, conv, norm, sum, relu, linear; the flatten is a view
    assert whole.activations == 6 * 256 + 5
    assert whole.weights == weights
    assert whole.connected == 256 * 5 + 5
    assert whole.winograd == 64 * 4 * 9 * (3 + 4)  # two convolutions of 3×3 and stride 1 over 8×8
    assert (whole.pointwise, whole.thin, whole.graphs) == (0, 0, 1)
    assert whole.traffic(2, fused=False) == 2 * (weights + 2 * (6 * 256 + 5))
    assert whole.traffic(1, fused=True, batch=3) == pytest.approx(weights + 3 * 2 * 0.4 * (6 * 256 + 5))


@pytest.mark.parametrize(
    ("kind", "options", "steps"),
    [(nn.LSTM, {"num_layers": 2}, 2 * 40), (nn.GRU, {"bidirectional": True}, 2 * 40), (nn.RNN, {}, 40)],
)
def test_each_step_of_a_recurrent_layer_waits_for_the_one_before(
    kind: type[nn.Module], options: dict[str, Any], steps: int
) -> None:
    layer = kind(8, 16, batch_first=True, **options)
    graph = advisor.trace(nn.Sequential(layer, First()), torch.rand(2, 40, 8))
    kernels = edge_work(piece_work(graph, count(graph).pieces))[-1].ops
    assert steps <= kernels <= steps + 2  # taking the sequence out of the result is one


def test_time_in_closed_form() -> None:
    fit = Fit(same_for_all(1e-3, 1e-6, 1e-9), 4, False, half_width=math.log(2), log_sd=0.4, basis="test")
    found = seconds(Work(2, 100, 10, 5), fit)
    assert found.value == pytest.approx(2e-3 + 1e-4 + 80e-9)
    assert (found.low, found.high, found.stderr) == pytest.approx((found.value / 2, found.value * 2, found.value * 0.4))


def test_demands_hold_all_work() -> None:
    work = Work(9, 100, 50, 7, winograd=40, thin=10, connected=20, graphs=1)
    ops, *macs, connected, other, graphs = work.demands(2, fused=False, batch=3)
    assert (ops, graphs) == (9, 1)
    assert macs == [120, 150, 30]
    assert (connected, connected + other) == (40, work.traffic(2, fused=False, batch=3))
    fit = Fit((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), 2, False, half_width=0.1, log_sd=0.1, basis="test")
    assert fit.seconds(work) == 9 + 2 * 40 + 3 * 50 + 4 * 10 + 5 * 40 + 6 * (2 * 30 + 4 * 7) + 7


@pytest.mark.parametrize("key", ["jetson", "jetson-nano:pytorch-eager:fp16", "t4", "raspberry-pi-5"])
def test_prefix_and_suffix_sum_to_the_whole(key: str) -> None:
    found = halves(PIECES, device(key))
    assert found.edge[0].value == 0
    assert found.cloud[-1].value == 0
    for edge, cloud in zip(found.edge, found.cloud, strict=True):
        assert edge.value + cloud.value == pytest.approx(found.whole.value)
        assert edge.low <= edge.value <= edge.high


def test_work_adds_up() -> None:
    for edge, cloud in zip(edge_work(PIECES), cloud_work(PIECES), strict=True):
        assert edge + cloud == Work(6, 170, 40, 13)


def test_uncounted_macs_make_no_time() -> None:
    found = halves((Work(), Work(1, math.nan, 1, 1)), device("jetson"))
    assert math.isnan(found.whole.value)
    assert found.why == "the multiply-adds could not be counted"
