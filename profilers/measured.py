"""Measured time on this computer: the whole model and every piece, round by round, until the medians are narrow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.estimate import NORMAL_90, Estimate
from advisor.preserve import left_as_found
from advisor.profilers.halves import Halves

if TYPE_CHECKING:
    from torch import Tensor

    from advisor.graph import PartitionGraph

Clock = Callable[[], float]
Progress = Callable[[float], None]
Step = Callable[..., Any]

WARM_UP = 2
MIN_ROUNDS = 5
MAX_ROUNDS = 1000
WIDTH = 0.02
"""Half width of the 90 % interval of the whole model's median, as a share of it, at which measuring stops."""

TIME_LIMIT = 20.0
EXPLAINED_GAP = 0.05


@dataclass(frozen=True)
class Samples:
    """Seconds of the whole model `[rounds]` and of every piece `[rounds, pieces]`."""

    whole: np.ndarray
    pieces: np.ndarray


def halves(
    graph: PartitionGraph, progress: Progress | None = None, clock: Clock = time.perf_counter, limit: float = TIME_LIMIT
) -> Halves:
    """Measure both halves at every cut for one sample, in eager PyTorch on this CPU with its current threads.

    The pieces are scaled so that they add up to the whole model, and the gap is said: a piece pays for its own call.

    Args:
        graph: the traced model.
        progress: told the share of the time limit that is used.
        clock: seconds, monotonic.
        limit: stop measuring after so many seconds.
    """
    import torch

    pieces = [graph.piece(i) for i in range(1, len(graph.cuts))]
    with left_as_found(), torch.no_grad():
        samples = measure(_whole(graph), pieces, _one_sample(graph), clock, limit, progress)
        threads = torch.get_num_threads()
    return _halves(samples, f"measured in eager PyTorch {torch.__version__} on this CPU, {threads} threads, batch 1")


def measure(
    whole: Step,
    pieces: Sequence[Step],
    inputs: Sequence[Any],
    clock: Clock,
    limit: float,
    progress: Progress | None = None,
) -> Samples:
    """Time whole and pieces alternately, so that both see the same clocks, caches and neighbours."""
    for _ in range(WARM_UP):
        _round(whole, pieces, inputs, clock)
    rounds: list[list[float]] = []
    start = clock()
    while len(rounds) < MAX_ROUNDS:
        rounds.append(_round(whole, pieces, inputs, clock))
        used = (clock() - start) / limit
        if progress:
            progress(min(1.0, used))
        if len(rounds) >= MIN_ROUNDS and (used >= 1 or _narrow([r[0] for r in rounds])):
            break
    if progress:
        progress(1.0)
    return Samples(
        np.array([r[0] for r in rounds]), np.array([r[1:] for r in rounds]).reshape(len(rounds), len(pieces))
    )


def _round(whole: Step, pieces: Sequence[Step], inputs: Sequence[Any], clock: Clock) -> list[float]:
    """Seconds of the whole, then of each piece; stamps lie back to back: freeing memory is part of the work."""
    stamps = [clock()]
    whole(*inputs)
    stamps.append(clock())
    carried: Any = tuple(inputs)
    for piece in pieces:
        carried = piece(*(carried if isinstance(carried, tuple) else (carried,)))
        stamps.append(clock())
    return [after - before for before, after in pairwise(stamps)]


def median(samples: Sequence[float] | np.ndarray) -> Estimate:
    """Median with a distribution-free 90 % interval: the order statistics around rank n/2 ± 1.645·√n/2.

    Fewer than six samples cannot give 90 %: the interval is then their whole range.
    """
    ordered = np.sort(np.asarray(samples, dtype=float))
    n = len(ordered)
    reach = NORMAL_90 * np.sqrt(n) / 2
    low = ordered[max(0, int(np.floor(n / 2 - reach)))]
    high = ordered[min(n - 1, int(np.ceil(n / 2 + reach)))]
    value = float(np.median(ordered))
    return Estimate(value, float(high - low) / (2 * NORMAL_90), float(low), float(high), "s", "measured")


def _narrow(samples: Sequence[float]) -> bool:
    found = median(samples)
    return found.high - found.low <= 2 * WIDTH * found.value


def _halves(samples: Samples, method: str) -> Halves:
    whole, parts = median(samples.whole), np.median(samples.pieces, axis=0)
    gap = median(samples.pieces.sum(axis=1)).value / whole.value - 1
    note = f"{method}; {len(samples.whole)} rounds; the pieces summed to {100 * gap:+.1f} % of the whole model"
    if abs(gap) > EXPLAINED_GAP:
        note += ", as each piece pays for its own call and handles memory differently"
    note += "; they were scaled to it"
    scale = whole.value / float(parts.sum())
    edge = [_sum(samples.pieces[:, :i], parts[:i], scale, method) for i in range(len(parts))]
    cloud = [_sum(samples.pieces[:, i:], parts[i:], scale, method) for i in range(1, len(parts) + 1)]
    complete = Estimate(whole.value, whole.stderr, whole.low, whole.high, "s", "measured", method)
    return Halves((*edge, complete), (complete, *cloud), (note,))


def _sum(rounds: np.ndarray, medians: np.ndarray, scale: float, method: str) -> Estimate:
    """Sum of the pieces' medians; the interval is that of the rounds' sums, moved to it."""
    value = float(medians.sum()) * scale
    spread = median(rounds.sum(axis=1))
    low, high = value - (spread.value - spread.low) * scale, value + (spread.high - spread.value) * scale
    return Estimate(value, spread.stderr * scale, max(0.0, low), high, "s", "measured", method)


def _whole(graph: PartitionGraph) -> Step:
    from advisor.halves import Grouped

    return graph.module if graph.fixed_batch is None else Grouped(graph.module, graph.fixed_batch)


def _one_sample(graph: PartitionGraph) -> tuple[Tensor, ...]:
    """One sample of uniform noise for numbers, zeros (always a valid index) for integers."""
    import torch

    noise = torch.Generator().manual_seed(0)
    return tuple(
        torch.rand(x[:1].shape, generator=noise).to(x.dtype) if x.is_floating_point() else torch.zeros_like(x[:1])
        for x in graph.example_inputs
    )
