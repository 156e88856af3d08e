"""An NMSE beside what people know: a thumbnail, the mean colour, the class. Here are the words for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from advisor.advice import Advice
from advisor.estimate import Estimate
from advisor.reports.content.words import section

CIFAR_10: Mapping[int, float] = {1: 0.714, 2: 0.551, 4: 0.343, 8: 0.182, 16: 0.068}
"""Side of a thumbnail of block means -> NMSE that it leaves on CIFAR-10's test images."""
NOTHING, COPY = 0.995, 0.02
WIDE = 0.5
"""Length of an NMSE's interval past which its value says little."""
CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Yardstick:
    """What thumbnails of a side leave, and of whose pictures that was measured."""

    nmse: Mapping[int, float]
    of: str
    grey: bool = False


def yardstick(advice: Advice) -> Yardstick | None:
    """Of the advice's own samples where they were measured, else of CIFAR-10; None where the input is no picture."""
    shape = image_shape(advice)
    if shape is None:
        return None
    side, grey = min(shape[1:]), shape[0] == 1
    own = _own(section(advice, "yardstick").get("thumbnail_nmse"))
    if own is not None:
        return Yardstick(own, "your samples", grey) if own else None
    known = {k: value for k, value in CIFAR_10.items() if k < side}
    return Yardstick(known, "CIFAR-10", grey) if known else None


def image_shape(advice: Advice) -> tuple[int, int, int] | None:
    """Channels, height, width of the input; None where it is no picture."""
    specs = advice.profile.cuts[0].tensors if advice.profile.cuts else ()
    if len(specs) != 1 or len(specs[0].shape) != 3:
        return None
    first, second, third = specs[0].shape
    if first in CHANNELS and min(second, third) > 4:
        return first, second, third
    return (third, first, second) if third in CHANNELS and min(first, second) > 4 else None


def comparison(nmse: float, known: Yardstick | None) -> str:
    """What an attacker who is left with this NMSE gets: "about a 4×4 thumbnail of the input"; "" where it is NaN."""
    if math.isnan(nmse):
        return ""
    if nmse >= NOTHING:
        return "no more than the average of all inputs"
    if nmse <= COPY:
        return "nearly a copy of the input"
    if known is None:
        return f"what explains {100 * (1 - nmse):.0f} % of the input's variance"
    nearest, coarsest, finest = thumbnail(nmse, known), min(known.nmse), max(known.nmse)
    if nmse > (1 + known.nmse[coarsest]) / 2:
        return f"less than {_picture(coarsest, known)}"
    if nearest == finest > 1 and nmse < 0.7 * known.nmse[finest]:
        return f"more than {_picture(finest, known)}"
    return f"about {_picture(nearest, known)}"


def comparison_of(found: Estimate, known: Yardstick | None) -> str:
    """The same of an estimate: both its ends where so little is known that its value alone would mislead."""
    low, high = comparison(found.low, known), comparison(found.high, known)
    if found.high - found.low <= WIDE or not low or not high:
        return comparison(found.value, known)
    return f"anything from {low} to {high}"


def thumbnail(nmse: float, known: Yardstick) -> int:
    """The side of the thumbnail that leaves the nearest error, by ratio."""
    return min(known.nmse, key=lambda side: abs(math.log(max(known.nmse[side], 1e-6) / max(nmse, 1e-6))))


def _picture(side: int, known: Yardstick) -> str:
    if side == 1:
        return f"the input's mean {'brightness' if known.grey else 'colour'}"
    return f"{'an' if side == 8 else 'a'} {side}×{side} thumbnail of the input"


def _own(found: object) -> dict[int, float] | None:
    """Thumbnail errors as they are recorded; None where they are not what they should be: they may be a stranger's.

    A thumbnail that leaves more than the mean image does, as of pictures that are alike, is none to compare with.
    """
    if not isinstance(found, Mapping):
        return None
    pairs = {int(k): v for k, v in found.items() if str(k).isdecimal() and len(str(k)) < 5}
    good = {k: float(v) for k, v in pairs.items() if isinstance(v, int | float) and 0 < v < math.inf and k > 0}
    return {k: v for k, v in good.items() if v < 1} if 1 in good and len(good) == len(found) else None
