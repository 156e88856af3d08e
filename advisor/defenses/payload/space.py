"""What the search may choose of a defense, in the terms of Optuna's distributions; nothing here imports Optuna."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from typing import Protocol

    class Trial(Protocol):
        """What is asked of an Optuna trial."""

        def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
            """A number between two others."""

        def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
            """A whole number between two others."""

        def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
            """One of several values."""


@dataclass(frozen=True)
class Float:
    """A real number from `low` to `high`, sampled on a logarithmic scale where `log`."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, self.log)

    def suggest(self, trial: Trial, name: str) -> float:
        """Ask a trial for a value."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def contains(self, value: Any) -> bool:
        """Whether the search could have chosen this value."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Int:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, self.log)

    def suggest(self, trial: Trial, name: str) -> int:
        """Ask a trial for a value."""
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def contains(self, value: Any) -> bool:
        """Whether the search could have chosen this value."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of several plain values."""

    options: tuple[str | int | float | bool, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise AdvisorError("A choice needs at least one option.", "Name some, or leave the parameter out.")

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask a trial for a value."""
        return trial.suggest_categorical(name, list(self.options))

    def contains(self, value: Any) -> bool:
        """Whether the search could have chosen this value."""
        return value in self.options


Distribution: TypeAlias = Float | Int | Choice


def _check_ends(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high and (low > 0 or not log)):
        raise AdvisorError(
            f"A range from {low!r} to {high!r} makes no sense.", "Put the lower end first; above 0 on a log scale."
        )
