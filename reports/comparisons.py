"""An NMSE beside what people know: a thumbnail, the mean colour, the class. Here are the words for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from advisor.plans import Advice
from advisor.reports.words import section

CIFAR_10: Mapping[int, float] = {1: 0.714, 2: 0.551, 4: 0.343, 8: 0.182, 16: 0.068}
"""Side of a thumbnail of block means -> NMSE that it leaves on CIFAR-10's test images."""
NOTHING, COPY = 0.995, 0.02
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
    if own:
        return Yardstick(own, "your samples", grey)
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
    nearest = thumbnail(nmse, known)
    if nmse > (1 + known.nmse[1]) / 2:
        return f"less than the input's {_mean(known)}"
    if nearest == 1:
        return f"about the input's {_mean(known)}"
    finest = max(known.nmse)
    if nearest == finest and nmse < 0.7 * known.nmse[finest]:
        return f"more than a {finest}×{finest} thumbnail of the input"
    return f"about {'an' if nearest == 8 else 'a'} {nearest}×{nearest} thumbnail of the input"


def thumbnail(nmse: float, known: Yardstick) -> int:
    """The side of the thumbnail that leaves the nearest error, by ratio."""
    return min(known.nmse, key=lambda side: abs(math.log(max(known.nmse[side], 1e-6) / max(nmse, 1e-6))))


def _mean(known: Yardstick) -> str:
    return "mean brightness" if known.grey else "mean colour"


def _own(found: object) -> dict[int, float]:
    """Thumbnail errors as they are recorded, if they are what they should be: the file may be a stranger's."""
    if not isinstance(found, Mapping):
        return {}
    pairs = {int(k): v for k, v in found.items() if str(k).isdecimal() and len(str(k)) < 5}
    good = {k: float(v) for k, v in pairs.items() if isinstance(v, int | float) and 0 < v <= 1.5 and k > 0}
    return good if 1 in good and len(good) == len(found) else {}
