"""Multiply-adds of the edge half at each cut."""

from __future__ import annotations

import math

from advisor.columns import Column
from advisor.profilers.support.context import ProfilingContext

METHOD = "counted from the shapes of the operations, one multiply-add is one; elementwise operations are not counted"


def columns(context: ProfilingContext) -> tuple[Column]:
    """`macs`: of the edge half up to each cut, for one sample; a lower bound where an operation has no count."""
    counted = context.counted
    values = [math.fsum(counted.pieces[: i + 1]) for i in range(len(counted.pieces))]
    if not counted.bound:
        return (Column.of("macs", "1", "low", values, "measured", method=METHOD),)
    return (Column.of("macs", "1", "low", values, "bounded", method=f"{METHOD}; {counted.bound}"),)
