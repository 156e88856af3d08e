"""How an attack's error falls with the samples it learns from, carried on to other numbers of them. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from advisor.errors import AdvisorError
from advisor.estimate import Estimate

EXPONENTS = np.linspace(0.15, 1.2, 22)
"""Of the power law: published learning curves lie between (Rosenfeld et al. 2020)."""

FALLING = np.geomspace(1e-3, 1.0, 61)
"""Shares of the error at the most samples that more samples take away; finely where next to nothing is left to gain."""

LEVELS = 41
ROUGH = 0.01
"""Standard deviation of a training's outcome beside the spread over samples, in units of NMSE."""

PLATEAU = 0.98
"""NMSE from which on an attack learnt nothing: it answers with the mean, however far from the mean its own guess is."""

FARTHEST = 30.0
"""Error, if it were not clipped to that of the mean, of an attack that learnt nothing yet, at most."""

TOLD, NARROW = 0.2, 0.05
"""Widest 90 % interval of an NMSE that is still an answer; near 0 no wider than the NMSE itself, or than `NARROW`."""

FEWEST_POINTS = 2
STEP = 2.0


@dataclass(frozen=True)
class Point:
    """One attack: the samples it learnt from, the NMSE that it was left with, and its standard error."""

    samples: int
    nmse: float
    stderr: float


@dataclass(frozen=True)
class LearningCurve:
    """NMSE after n samples: min(1, a + (v − a)·(m/n)^c), of an attack that reaches v with m.

    Every a between 0 and v, and every c of `EXPONENTS`, is as likely at first; what the points leave of them is the
    answer, so that its interval widens with the distance from them.

    Attributes:
        points: at least two numbers of samples.
    """

    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        sound = [p for p in self.points if p.samples > 0 and math.isfinite(p.nmse) and math.isfinite(p.stderr)]
        if len(sound) < len(self.points) or len({p.samples for p in sound}) < FEWEST_POINTS:
            raise AdvisorError("A learning curve needs attacks with two numbers of samples.", "Pass more samples.")

    @property
    def most(self) -> int:
        """Samples of the largest attack."""
        return max(p.samples for p in self.points)

    def at(self, samples: int) -> Estimate:
        """NMSE that the same attack is left with after so many samples: median and 90 % interval."""
        values = self._values(samples)
        order = np.argsort(values)
        reached = np.cumsum(self._weights[order])
        low, middle, high = (float(values[order][np.searchsorted(reached, q)]) for q in (0.05, 0.5, 0.95))
        mean = float(self._weights @ values)
        spread = math.sqrt(max(0.0, float(self._weights @ (values - mean) ** 2)))
        learnt = " and ".join([", ".join(f"{p.samples:,}" for p in self.points[:-1]), f"{self.points[-1].samples:,}"])
        return Estimate(middle, spread, low, high, "1", "estimated", f"learning curve of attacks with {learnt} samples")

    def known(self, samples: int) -> bool:
        """Whether the interval after so many samples is narrow enough for an answer."""
        found = self.at(samples)
        return found.high - found.low <= min(TOLD, max(NARROW, found.value))

    def enough(self, samples: int) -> int:
        """How many samples would have to be at hand for the error after `samples` to be known.

        As if this curve's median were measured at twice, four times, … as many samples as were; at `samples` themselves
        it is measured, not carried on.
        """
        if self.known(samples):
            return self.most
        spread, counts = self.points[-1].stderr, [p.samples for p in self.points]
        for count in _doublings(self.most, samples):
            counts.append(count)
            if LearningCurve(tuple(Point(n, self.at(n).value, spread) for n in counts)).known(samples):
                return count
        return samples

    # ---- what the points leave ------------------------------------------------------------------------------------

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """v, a and c of every curve that is thought of, along three axes."""
        last = max(self.points, key=lambda p: p.samples)
        doubt = 4 * math.hypot(last.stderr, ROUGH)
        lowest, highest = max(1e-4, last.nmse - doubt), last.nmse + doubt
        levels = (
            np.geomspace(lowest, FARTHEST, LEVELS) if last.nmse >= PLATEAU else np.linspace(lowest, highest, LEVELS)
        )
        v, falling, c = np.meshgrid(levels, FALLING, EXPONENTS, indexing="ij", sparse=True)
        return v, (1 - falling) * np.minimum(v, 1.0), c

    def _values(self, samples: int) -> np.ndarray:
        v, a, c = self._grid
        clipped: np.ndarray = np.minimum(1.0, a + (v - a) * (self.most / samples) ** c)
        return clipped.ravel()

    @cached_property
    def _weights(self) -> np.ndarray:
        """How likely each is, by the points; sums to 1."""
        misfit = np.zeros(LEVELS * len(FALLING) * len(EXPONENTS))
        for point in self.points:
            apart = (self._values(point.samples) - min(1.0, point.nmse)) / math.hypot(point.stderr, ROUGH)
            misfit += 0.5 * apart**2
        as_likely = np.tile(np.repeat(np.gradient(FALLING), len(EXPONENTS)), LEVELS)  # the grid is not even in a
        weights = as_likely * np.exp(misfit.min() - misfit)
        shares: np.ndarray = weights / weights.sum()
        return shares


def _doublings(most: int, samples: int) -> Iterator[int]:
    """Twice, four times, … as many as `most`, below `samples`."""
    count = most * STEP
    while count < samples:
        yield round(count)
        count *= STEP


def steps_up_to(most: int, fewest: int, count: int = 5) -> Sequence[int]:
    """Numbers of samples to attack with: `most`, half of it, … down to `fewest`, at most `count`, fewest first."""
    found = [most]
    while len(found) < count and found[-1] // 2 >= fewest:
        found.append(found[-1] // 2)
    return found[::-1]
