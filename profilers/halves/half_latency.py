"""Halves: how long the edge half and the cloud half of every cut take, however that was learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from advisor.estimate import Estimate, Source


@dataclass(frozen=True)
class Halves:
    """Times for one sample, in seconds; at each cut edge + cloud of the same machine is `whole`.

    Attributes:
        edge: `[cuts]`, from the input to the cut.
        cloud: `[cuts]`, from the cut to the output.
        notes: what they rest on, one sentence each.
        why: why they are NaN, or "".
        facts: of the machine that was measured: board, versions, threads, clocks; empty where nothing was.
    """

    edge: tuple[Estimate, ...]
    cloud: tuple[Estimate, ...]
    notes: tuple[str, ...] = ()
    why: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> Estimate:
        """The whole model."""
        return self.edge[-1]


def bounded(time: Estimate, bound: str) -> Estimate:
    """A time as a lower bound, where `bound` says what makes it one; else as it is."""
    return replace(time, source="bounded", method=f"{time.method}; {bound}") if bound else time


def total(parts: Sequence[Estimate]) -> Estimate:
    """Sum of independent estimates: the half intervals add in quadrature, each side on its own; bounds stay bounds."""
    value = math.fsum(p.value for p in parts)
    below = math.hypot(*(p.value - p.low for p in parts))
    above = math.hypot(*(p.high - p.value for p in parts))
    sources = {p.source for p in parts}
    source: Source = "bounded" if "bounded" in sources else "measured" if sources == {"measured"} else "estimated"
    return Estimate(
        value, math.hypot(*(p.stderr for p in parts)), max(0.0, value - below), value + above, parts[0].unit, source
    )
