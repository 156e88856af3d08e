"""How fast this machine is at what a run spends its time on, measured in about a second."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.computing.chosen_device import current, elsewhere
from advisor.computing.regions import on_the_device
from advisor.derivatives.tangents import MICRO_BYTES, batch_energies
from advisor.estimators.inversion.alignment import QUICK
from advisor.estimators.inversion.fast_products import Fast
from advisor.estimators.inversion.optimiser import OneCycle
from advisor.graph import PartitionGraph
from advisor.measures.decoders.map_decoder import Residual
from advisor.support.preserve import left_as_found, math_attention, plain_attention
from advisor.support.threads import one_thread, side_by_side

SAMPLES = 8
"""Of the model's inputs that are run, at most."""

DIRECTIONS = 4
"""That each of some of them is differentiated in."""

CHANNELS, SIDE = 96, 16
STEPS = 4
ELEMENTS, REPEATS = 2**23, 5
SOLVED = 300
"""Samples of the eigenproblem that stands for all closed forms: their time grows with the cube of them."""


@dataclass(frozen=True)
class Speed:
    """Seconds that this machine takes for one model.

    Attributes:
        forward: of one sample through the whole model.
        tangent: of one sample and one direction, in forward mode.
        product: of one multiply-add of an inversion network, gradients included, batch by batch.
        step: of what else a training step does.
        solve: of an eigenproblem of `SOLVED` samples.
        element: of one number of a large tensor, read once and written once to new memory.
    """

    forward: float
    tangent: float
    product: float
    step: float
    solve: float
    element: float


def measured(graph: PartitionGraph, inputs: tuple[Tensor, ...]) -> Speed:
    """The speed with one model and its samples `[N, ...]`; draws nothing from torch's random numbers."""
    return _measured(graph, tuple(t[:SAMPLES] for t in inputs))


@on_the_device
def _measured(graph: PartitionGraph, few: tuple[Tensor, ...]) -> Speed:
    where = str(current())
    product, step = training_speed(torch.get_num_threads(), where)
    with left_as_found(graph.module), plain_attention(), torch.no_grad():
        graph.run(tuple(t[:1] for t in few))
        forward = taken(lambda: graph.run(few)) / len(few[0])
    return Speed(forward, _tangent(graph, few, forward), product, step, solving_speed(where), copying_speed(where))


def taken(work: Callable[[], object]) -> float:
    """Seconds of wall time, until a GPU is done too."""
    started = time.perf_counter()
    work()
    if elsewhere() and torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter() - started


def _tangent(graph: PartitionGraph, inputs: tuple[Tensor, ...], forward: float) -> float:
    """Of a direction beside its share of the forward pass; of inputs without derivatives as of three passes."""
    if not all(t.dtype.is_floating_point for t in inputs):
        return 3 * forward
    largest = max(graph.value_bytes(node) for node in graph.data_nodes) or 1
    rows = max(1, min(SAMPLES, len(inputs[0]), int(MICRO_BYTES / (largest * DIRECTIONS))))
    few = [t[:rows] for t in inputs]
    directions = [torch.ones(DIRECTIONS, *t.shape, dtype=t.dtype) for t in few]
    with left_as_found(graph.module), plain_attention(), math_attention(), torch.no_grad():
        batch_energies(graph, [t[:1] for t in few], [d[:1, :1] for d in directions], 1)
        return taken(lambda: batch_energies(graph, few, directions, DIRECTIONS)) / (DIRECTIONS * rows)


@functools.cache
def training_speed(threads: int, device: str) -> tuple[float, float]:
    """Seconds of a multiply-add, and of a step besides, of the quick attack's network on so many of torch's threads."""
    with left_as_found(), torch.enable_grad():
        torch.manual_seed(0)
        whole, small = (_steps(width, side) for width, side in ((QUICK.width, SIDE), (4, 4)))
    return max(whole[0] - small[0], 1e-6) / (whole[1] - small[1]), small[0]


def _steps(width: int, side: int) -> tuple[float, int]:
    """Seconds and multiply-adds of one training step."""
    body = nn.Sequential(nn.Conv2d(CHANNELS, width, 1), Residual(width), nn.GELU(), nn.Conv2d(width, 12, 3, padding=1))
    network = Fast(body, QUICK.fast)
    x, goal = torch.randn(QUICK.batch, CHANNELS, side, side), torch.randn(QUICK.batch, 12, side, side)
    with side_by_side() as spread:
        cycle = OneCycle(network, QUICK.rate, STEPS + 1, spread=spread)

        def steps(count: int) -> None:
            rows = torch.arange(QUICK.batch)
            for _ in range(count):
                cycle.step_in_parts(lambda part: F.mse_loss(network(x[part]), goal[part]), rows, QUICK.parts)

        steps(1)
        seconds = taken(lambda: steps(STEPS)) / STEPS
    return seconds, step_products(CHANNELS, side * side, width, 12)


def step_products(channels: int, cells: int, width: int, outputs: int) -> int:
    """Multiply-adds of one step of the quick attack's network on maps, forward and backward."""
    forward = cells * (channels * width + QUICK.depth * 18 * width**2 + 9 * width * outputs)
    return 3 * QUICK.batch * forward


@functools.cache
def solving_speed(device: str) -> float:
    """Seconds of the eigenproblem that closed forms are counted in."""
    made = torch.randn(SOLVED, SOLVED, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = made @ made.T
    with one_thread():
        torch.linalg.eigh(matrix)
        return _usual(lambda: torch.linalg.eigh(matrix))


@functools.cache
def copying_speed(device: str) -> float:
    """Seconds an element of taking a number from every element of a large tensor, on one core."""
    large = torch.zeros(ELEMENTS, device=device)
    with one_thread():
        return _usual(lambda: large - 1.0) / ELEMENTS


def _usual(work: Callable[[], object]) -> float:
    """Seconds of the middle one of a few: a millisecond's work may meet another process."""
    return sorted(taken(work) for _ in range(REPEATS))[REPEATS // 2]
