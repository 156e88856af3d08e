"""Comparisons, arithmetic and numpy's functions for what has a value: they act on it as on the bare number."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


class NumberLike:
    """A `value` with more beside it. Results are plain numbers: what is beside it does not follow."""

    value: float

    def __float__(self) -> float:
        return float(self.value)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.value, dtype)

    def __round__(self, digits: int | None = None) -> float:
        return round(float(self), digits)

    def __neg__(self) -> float:
        return -float(self)

    def __abs__(self) -> float:
        return abs(float(self))

    def __lt__(self, other: object) -> bool:
        return self._with(other, lambda mine, theirs: mine < theirs)

    def __le__(self, other: object) -> bool:
        return self._with(other, lambda mine, theirs: mine <= theirs)

    def __gt__(self, other: object) -> bool:
        return self._with(other, lambda mine, theirs: mine > theirs)

    def __ge__(self, other: object) -> bool:
        return self._with(other, lambda mine, theirs: mine >= theirs)

    def __add__(self, other: object) -> float:
        return self._with(other, lambda mine, theirs: mine + theirs)

    def __radd__(self, other: object) -> float:
        return self._with(other, lambda mine, theirs: mine + theirs)

    def __sub__(self, other: object) -> float:
        return self._with(other, lambda mine, theirs: mine - theirs)

    def __rsub__(self, other: object) -> float:
        return self._with(other, lambda mine, theirs: theirs - mine)

    def __mul__(self, other: object) -> float:
        return self._with(other, lambda mine, theirs: mine * theirs)

    def __rmul__(self, other: object) -> float:
        return self._with(other, lambda mine, theirs: mine * theirs)

    def __truediv__(self, other: object) -> float:
        return self._with(other, lambda mine, theirs: mine / theirs)

    def __rtruediv__(self, other: object) -> float:
        return self._with(other, lambda mine, theirs: theirs / mine)

    def __pow__(self, other: object) -> float:
        return self._with(other, math.pow)

    def _with(self, other: object, act: Callable[[float, float], T]) -> T:
        """`act` on both values; arrays and what is no number answer themselves."""
        return act(float(self), float(other)) if isinstance(other, Real | NumberLike) else NotImplemented
