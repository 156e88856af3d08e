"""Ranges as people write them: `1..100Mbps`, `10ms..1s`, or a single value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from advisor.errors import AdvisorError
from advisor.outlook import LINK, Axis
from advisor.requirement import Requirement
from advisor.units import rate, show_rate

BETWEEN = ".."
LONGEST = 160
_BARE = re.compile(r"\s*[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?\s*")
_UNIT = re.compile(r"[a-zA-Zµ%/]*\s*$")
_STEEP = 10.0
"""From this ratio of its ends on, an axis is logarithmic."""


@dataclass(frozen=True)
class Range:
    """Two ends, in SI units."""

    low: float
    high: float


def is_range(value: Any) -> bool:
    """Whether a value is a range: `a..b`, or two values."""
    return BETWEEN in value if isinstance(value, str) else isinstance(value, (tuple, list))


def read_range(value: Any, parse: Callable[[Any], float], said_as: str) -> Range:
    """The range of `a..b` or of two values; a lower end without a unit has that of the upper one.

    Raises:
        AdvisorError: when it has not two ends, they are no values, or the lower one does not come first.
    """
    parts = _parts(value, said_as)
    low, high = (_end(part, parse, said_as) for part in parts)
    said = f"{said_as} {str(value)[:LONGEST]!r}"
    if not math.isfinite(low) or not math.isfinite(high):
        raise AdvisorError(f"{said} has no finite end.", f"Write {said_as} 1..100, with the unit.")
    if low == high:
        raise AdvisorError(f"{said} begins where it ends.", "Write a single value, or two that differ.")
    if low > high:
        raise AdvisorError(f"{said} runs backwards.", "Write the smaller end first.")
    return Range(low, high)


def _parts(value: Any, said_as: str) -> list[Any]:
    parts = value.split(BETWEEN) if isinstance(value, str) else list(value)
    empty = any(isinstance(part, str) and not part.strip() for part in parts)
    if len(parts) != 2 or empty:
        said = f"{said_as} {str(value)[:LONGEST]!r}"
        raise AdvisorError(f"{said} is no range: it has not two ends.", f"Write {said_as} LOW..HIGH.")
    low, high = parts
    if isinstance(low, str) and isinstance(high, str) and _BARE.fullmatch(low) and (unit := _UNIT.search(high)):
        low = low.strip() + unit[0].strip()
    return [low, high]


def _end(part: Any, parse: Callable[[Any], float], said_as: str) -> float:
    try:
        return parse(part.strip() if isinstance(part, str) else part)
    except AdvisorError as error:
        raise AdvisorError(f"{said_as}: {error.problem}", error.next_step) from None


def link_axis(found: Range) -> Axis:
    """The axis of bandwidth.

    Raises:
        AdvisorError: when it reaches down to nothing.
    """
    if found.low <= 0:
        raise AdvisorError("--link: over a bandwidth of 0 nothing is ever sent.", "Begin above zero, such as 0.1Mbps.")
    return Axis(LINK, "bandwidth", "bit/s", found.low, found.high, show_rate)


def requirement_axis(row: Requirement, found: Range) -> Axis:
    """The axis of a requirement's bound."""
    steep = found.low > 0 and found.high / found.low >= _STEEP
    return Axis(row.name, f"limit on {row.label}", row.unit, found.low, found.high, row.show, steep)


def bandwidth(value: Any) -> float:
    """Bits per second, above zero.

    Raises:
        AdvisorError: on what is none.
    """
    found = rate(value)
    if found <= 0:
        raise AdvisorError(f"{str(value)[:LONGEST]!r} is no bandwidth above zero.", "Write 20Mbps.")
    return found
