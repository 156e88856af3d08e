"""A number is never bare: value, spread, unit and source together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, PlainSerializer
from pydantic.dataclasses import dataclass

from advisor.support.number_like import NumberLike

Source = Literal["measured", "estimated", "bounded"]
NORMAL_90 = 1.6448536269514722  # the 95 % quantile of a standard normal: a two-sided 90 % interval


def _number(value: object) -> float:
    try:
        return math.nan if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError) as error:  # a validator may raise a ValueError alone
        raise ValueError(str(error)) from None


def json_number(value: float) -> float | str | None:
    """A float as JSON can hold it: NaN ("not measured") is null, infinities are "inf" and "-inf"."""
    if math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else str(float(value))


def _same(one: object, other: object) -> bool:
    """Equal, or both NaN: "not measured" twice is the same."""
    return one == other or (one != one and other != other)


Number = Annotated[float, BeforeValidator(_number), PlainSerializer(json_number)]
"""A float whose NaN ("not measured") is `null` in JSON."""


@dataclass(frozen=True)
class Estimate(NumberLike):
    """One number with its spread; arithmetic is that of the bare value.

    Attributes:
        value: the number, in `unit`; NaN where it could not be measured.
        stderr: standard error, in `unit`; NaN when unknown.
        low: lower end of the 90 % interval.
        high: upper end of the 90 % interval.
        unit: SI unit, or "1" for a ratio.
        source: "measured", "estimated" or "bounded".
        method: how it was obtained, in a few words.
    """

    value: Number
    stderr: Number = math.nan
    low: Number = math.nan
    high: Number = math.nan
    unit: str = "1"
    source: Source = "measured"
    method: str = ""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __eq__(self, other: object) -> bool:
        """Of two estimates all fields; of a number the value."""
        if isinstance(other, Estimate):
            return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))
        return self.value == float(other) if isinstance(other, Real) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    def mapped(self, function: Callable[[float], float], method: str) -> Estimate:
        """This estimate through a monotone function, in the same unit; the ends of the interval go through it too.

        What is made of a bound is one.
        """
        low, high = sorted((function(self.low), function(self.high)))
        stderr = (high - low) / (2 * NORMAL_90)
        source: Source = "bounded" if self.source == "bounded" else "estimated"
        return Estimate(function(self.value), stderr, low, high, self.unit, source, method)

    def within(self, least: float, most: float = math.inf) -> Estimate:
        """This estimate with its interval cut off where the quantity ends: an error is never below 0.

        Args:
            least, most: what the quantity can be; the value itself is not touched.
        """
        low, high = (end if math.isnan(end) else min(max(end, least), most) for end in (self.low, self.high))
        return dataclasses.replace(self, low=low, high=high)

    @classmethod
    def exact(cls, value: float, unit: str = "1", source: Source = "measured", method: str = "") -> Estimate:
        """A number without spread, such as a count of bytes."""
        return cls(float(value), 0.0, float(value), float(value), unit, source, method)

    @classmethod
    def of_mean(cls, samples: Sequence[float] | np.ndarray, unit: str = "1", method: str = "") -> Estimate:
        """Mean over independent samples with its standard error and normal 90 % interval; one sample has no spread.

        NaN with the reason where one of them is not finite: a mean of the others would be about other samples.
        """
        array = np.asarray(samples, dtype=float)
        odd = int(array.size - np.isfinite(array).sum())
        if odd or array.size == 0:
            why = f"{odd:,} of {array.size:,} values are not finite" if odd else "there are no values"
            return cls(math.nan, unit=unit, method=f"{method}: {why}" if method else why)
        mean = float(array.mean())
        stderr = float(array.std(ddof=1) / math.sqrt(array.size)) if array.size > 1 else math.nan
        half = NORMAL_90 * stderr
        return cls(mean, stderr, mean - half, mean + half, unit, "measured", method)
