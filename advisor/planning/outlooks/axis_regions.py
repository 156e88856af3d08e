"""Where the choice changes along an axis, to the last digits; and the picture of two axes, band by band."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterable, Sequence

from advisor.outlook import NOTHING, Axis, Band, Segment
from advisor.planning.outlooks.choosing import NONE, Chosen

EXACT, FOR_THE_PICTURE = 1e-9, 2e-3
"""How near a threshold is found, as a share of its axis."""
GRID, GRID_OF_THE_PICTURE = 33, 13
BANDS = 24
SEEN = 5e-3
"""Share of an axis that can be told apart in a picture."""

At = Callable[[float], Chosen]


def segments(
    axis: Axis, at: At, events: Iterable[tuple[float, float]] = (), grid: int = GRID, near: float = EXACT
) -> list[tuple[Segment, Chosen]]:
    """The parts of an axis on which the choice is the same.

    Every two neighbours of a grid that differ are bisected, until what lies between is found too. Along a bound, what
    is chosen at both ends of a part is chosen throughout it: loosening only adds plans. Along bandwidth, where the
    latency is the objective, the same holds: the costs are straight lines in 1 / bandwidth.

    Args:
        axis: its ends.
        at: the choice at a value.
        events: values where a plan begins to meet a requirement, each with its neighbour that does not: looked at
            besides the grid.
        grid: equally far values that are looked at.
        near: share of the axis to which a threshold is found.
    """
    pairs = list(events)
    inside = {value for pair in pairs for value in pair if axis.low < value < axis.high}
    points = sorted({axis.at(i / (grid - 1)) for i in range(grid)} | inside)
    known = {value: at(value) for value in points}
    for low, high in itertools.pairwise(points):
        _bisect(axis, at, low, high, known, near)
    return _runs(axis, known, {value for value, _ in pairs})


def _bisect(axis: Axis, at: At, low: float, high: float, known: dict[float, Chosen], near: float) -> None:
    todo = [(low, high)]
    while todo:
        low, high = todo.pop()
        if known[low].key == known[high].key or axis.share(high) - axis.share(low) <= near:
            continue
        middle = axis.between(low, high)
        if not low < middle < high:
            continue
        known[middle] = at(middle)
        todo += [(low, middle), (middle, high)]


def _runs(axis: Axis, known: dict[float, Chosen], exact: Container[float]) -> list[tuple[Segment, Chosen]]:
    """Neighbours of one choice together; of two that touch, the threshold is where a plan just meets a requirement."""
    points = sorted(known)
    starts = [0, *(i for i in range(1, len(points)) if known[points[i]].key != known[points[i - 1]].key)]
    ends = [*(points[i - 1] if points[i - 1] in exact else points[i] for i in starts[1:]), axis.high]
    found, low = [], axis.low
    for first, after, high in zip(starts, [*starts[1:], len(points)], ends, strict=True):
        chosen = known[points[first]]
        curve = () if chosen.key == NONE else _curve(axis, [(p, known[p].value) for p in points[first:after]])
        sides = (curve[0][1], curve[-1][1]) if curve else (math.nan, math.nan)
        found.append((Segment(low, high, "", *sides, curve), chosen))
        low = high
    return found


def _curve(axis: Axis, points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Both ends, and what is far enough apart to be seen."""
    kept = [points[0]]
    for point in points[1:-1]:
        if axis.share(point[0]) - axis.share(kept[-1][0]) > SEEN:
            kept.append(point)
    return tuple([*kept, points[-1]] if len(points) > 1 else kept)


def bands(axis: Axis, segmented: Callable[[float], list[tuple[Segment, Chosen]]]) -> list[tuple[Band, list[Chosen]]]:
    """The picture: the second axis in equal parts, each with the segments of the first at its middle."""
    found = []
    for i in range(BANDS):
        middle = axis.at((i + 0.5) / BANDS)
        parts = segmented(middle)
        band = Band(middle, axis.at(i / BANDS), axis.at((i + 1) / BANDS), tuple(segment for segment, _ in parts))
        found.append((band, [chosen for _, chosen in parts]))
    return found


def letters(keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Key -> letter, in the order in which they come: A to Z, then A1, B1, …; `NOTHING` where nothing is chosen."""
    chosen = [key for key in dict.fromkeys(keys) if key != NONE]
    names = [chr(65 + i % 26) + (str(i // 26) if i >= 26 else "") for i in range(len(chosen))]
    return dict(zip(chosen, names, strict=True)) | {NONE: NOTHING}
