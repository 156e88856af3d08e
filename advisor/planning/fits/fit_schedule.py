"""How long fits may take, and how that time is divided: said before the first, and kept."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from advisor.batches import first_scores
from advisor.cuts import Cut
from advisor.graph import PartitionGraph

FINALISTS = {"quick": 1, "standard": 2, "thorough": 3}
"""Pairs of cut and method that are fitted to the end."""

LEVELS = {"quick": 2, "standard": 3, "thorough": 5}
"""Levels of noise of a finished fit that are attacked."""

MOST_CUTS = 4
SHORT_STEPS = 100
"""Of a short fit, at most."""

SHORT_SHARE = 0.4
"""Of the time, for the short fits together."""

TIMED = 3
"""Forward passes that are timed; the fastest counts."""

EASED_SHARE = 0.25
"""Of the time of a fit to the end: it is gone on with, its privacy weighed less, where it lost too much accuracy."""

LEAST_EASED = 0.25
"""Of the weight of the privacy term that is left then, at least; else the square of how much of the drop is allowed.

What hides stays hidden for a while after its price has risen: ResNet-20 at `stage1.2` lost 6.9 points with weight 1.3,
and 5.9 after it was gone on with 0.9, where a fit from the start with 1.0 loses 1.6 and hides hardly anything.
"""

FEWEST_STEPS = 20
"""Of any fit."""

ATTACK_SECONDS = 20.0
"""That a quick attack is counted with."""


@dataclass(frozen=True)
class Pair:
    """One fit to try: a method at a cut, with what its recipe says there."""

    cut: Cut
    method: str
    recipe: dict[str, object]

    def __str__(self) -> str:
        return f"{self.method} at {self.cut.name}"


@dataclass(frozen=True)
class Allowance:
    """How much time there is for fits: decided before the first, so that the same seed gives the same answer.

    Attributes:
        seconds: for all.
        step: of a step of 128 samples that trains the whole model, rounded up: jitter decides nothing.
        pairs: that are fitted briefly.
        finalists: that are fitted to the end.
        levels: of noise that a finished fit is attacked at.
    """

    seconds: float
    step: float
    pairs: int
    finalists: int
    levels: int

    def short_steps(self, share: float, batch: int) -> int:
        """Steps of one short fit, of which each trains so much of the model."""
        room = SHORT_SHARE * self.seconds / self.pairs - ATTACK_SECONDS
        return max(FEWEST_STEPS, min(SHORT_STEPS, int(max(0.0, room) / step_seconds(self.step, share, batch))))

    def steps(self, share: float, batch: int) -> int:
        """Steps that one fit to the end may take."""
        rest = self.seconds if self.pairs == 1 else (1 - SHORT_SHARE) * self.seconds / self.finalists
        room = rest - (self.levels + 1) * ATTACK_SECONDS
        return max(FEWEST_STEPS, int(max(0.0, room) / step_seconds(self.step, share, batch)))


def rounded_up(seconds: float) -> float:
    """To the next power of the square root of 2."""
    return float(2 ** (math.ceil(2 * math.log2(max(seconds, 1e-6))) / 2))


def forward_seconds(graph: PartitionGraph, inputs: Sequence[torch.Tensor], rows: int = 128) -> float:
    """Seconds of a forward pass of the whole model over so many samples, on this computer."""
    some = tuple(t[:rows] for t in inputs)
    first_scores(graph, some)  # warms caches
    best = math.inf  # others may use the machine too
    for _ in range(TIMED):
        started = time.perf_counter()
        first_scores(graph, some)
        best = min(best, time.perf_counter() - started)
    return best * rows / max(1, len(some[0]))


def step_seconds(whole: float, trained_share: float, batch: int) -> float:
    """Seconds of one step of a fit.

    Args:
        whole: seconds of a step of 128 samples that trains the whole model.
        trained_share: of the model's multiply-adds, that the fit runs in each step.
        batch: samples a step.
    """
    return whole * max(0.05, trained_share) * batch / 128


def spread_over_depth(cuts: Sequence[Cut], count: int) -> list[Cut]:
    """At most so many of them, evenly spread, both ends included."""
    if len(cuts) <= count:
        return list(cuts)
    picked = sorted({round(i * (len(cuts) - 1) / max(1, count - 1)) for i in range(count)})
    return [cuts[i] for i in picked]


def levels_between(low: float, high: float, count: int) -> list[float]:
    """Levels of noise from `low` to exactly `high`, evenly spread on a logarithmic scale; from 0 on a plain one."""
    if high <= low or count < 2:
        return [high]
    spaced = np.linspace if low <= 0 else np.geomspace
    return [float(level) for level in spaced(max(low, 0.0), high, count)]
