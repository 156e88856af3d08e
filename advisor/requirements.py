"""What can be asked of a plan, one row each: budgets, objective, front, search, options and reports read this table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.registry import Registry
from advisor.requirement import Requirement
from advisor.units import (
    count,
    digits,
    energy,
    fraction,
    latency,
    number,
    per_second,
    show_count,
    show_duration,
    show_energy,
    show_per_second,
    show_points,
    show_ratio,
    show_share,
    show_size,
    size,
)

if TYPE_CHECKING:
    from advisor.estimate import Estimate

REQUIREMENTS: dict[str, Requirement] = {
    row.name: row
    for row in (
        Requirement(
            "max_latency", "latency", "latency", "at most", "s", latency, show_duration, "latency",
            "Edge + link + cloud: 50ms.", on_front=True, worst=1e6,
        ),
        Requirement(
            "max_accuracy_drop", "accuracy_drop", "accuracy_drop", "at most", "1", fraction, show_points,
            "accuracy drop", "Absolute: 2% is two percentage points.", on_front=True, worst=1.0,
        ),
        Requirement(
            "max_ssim", "ssim", "score_ssim", "at most", "1", fraction, show_ratio, "attacker's SSIM",
            "Highest SSIM of a strong attack: 0.3.", cautious=True, leakage=True, worst=1.0,
        ),
        Requirement(
            "min_nmse", "nmse", "score", "at least", "1", fraction, show_ratio, "attacker's NMSE",
            "Lowest NMSE left to a strong attack: 0.7.", cautious=True, leakage=True, on_front=True, worst=0.0,
        ),
        Requirement(
            "max_edge_memory", "edge_memory", "edge_memory", "at most", "B", size, show_size, "edge memory",
            "Weights and activations: 1GiB.",
        ),
        Requirement(
            "min_accuracy", "accuracy", "accuracy", "at least", "1", fraction, show_share, "accuracy",
            "Of the task's own measure: 90%.", worst=0.0,
        ),
        Requirement(
            "min_throughput", "throughput", "throughput", "at least", "1/s", per_second, show_per_second, "throughput",
            "Inputs a second, edge, link and cloud at work at once: 30/s.", worst=0.0,
        ),
        Requirement(
            "max_bytes", "bytes", "bytes", "at most", "B", size, show_size, "bytes sent", "Of one input: 4KiB.",
        ),
        Requirement(
            "max_edge_energy", "edge_energy", "edge_energy", "at most", "J", energy, show_energy, "edge energy",
            "Of one input: 20mJ.",
        ),
        Requirement(
            "max_edge_macs", "edge_macs", "macs", "at most", "MAC", count, show_count, "edge MACs",
            "Multiply-adds of the edge half: 50M.",
        ),
        Requirement(
            "min_mse_bound", "mse_bound", "mse_bound", "at least", "1", number, digits, "MSE bound",
            "Least error that any attacker is left with: 0.01.", leakage=True, worst=0.0,
        ),
        Requirement(
            "max_label_leak", "label_leak", "label_leak", "at most", "1", fraction, show_share, "label leak",
            "Share of labels that a probe reads: 50%.", cautious=True, leakage=True, worst=1.0,
        ),
        Requirement(
            "max_ids_recovered", "top1", "ids_recovered", "at most", "1", fraction, show_share, "ids recovered",
            "Share that an attack gets back at its first guess: 20%.", cautious=True, leakage=True, worst=1.0,
        ),
    )
}  # fmt: skip
"""Every requirement by its name; one more is one more entry, a user's own by `own`."""

BUILT_IN = frozenset(REQUIREMENTS)
MOST_FOREIGN, LONGEST = 32, 60
"""Requirements of others' own that a file may hold, and letters of a name."""


def objective(wanted: str | Callable[[Any], float]) -> Requirement:
    """The row of the quantity that is to be best; a function of a plan is a row of its own, and less is better.

    Raises:
        AdvisorError: when there is no such quantity; the message lists them.
    """
    if not isinstance(wanted, str):
        name = getattr(wanted, "__name__", type(wanted).__name__)
        return Requirement(name, name, name, "at most", "1", number, digits, name, "given in Python", function=wanted)
    for row in REQUIREMENTS.values():
        if wanted in (row.quantity, row.measurement, row.name):
            return row
    known = ", ".join(row.quantity for row in REQUIREMENTS.values())
    raise AdvisorError(f"There is no objective {wanted!r}.", f"Known: {known}.")


def own(asked: str | Requirement) -> str:
    """The name of a requirement: a row of the table, or one of a user's own, which is then in the table.

    Args:
        asked: its name; a `Requirement`; what `package.module:ROW` holds; or the name of an entry point of
            `partition_advisor.requirements`. For what a person typed or wrote in Python, never for what a file names.

    Raises:
        AdvisorError: when there is no such requirement, or another one has its name.
    """
    if isinstance(asked, Requirement):
        row = asked
    elif asked in REQUIREMENTS or (":" not in asked and asked not in _OWN):
        return requirement(asked).name
    else:
        row = _OWN.find(asked)
    if not row.name.isidentifier() or REQUIREMENTS.get(row.name, row) != row:
        raise AdvisorError(f"A requirement cannot have the name {row.name!r}.", "Give it one of its own: max_price.")
    REQUIREMENTS[row.name] = row
    return row.name


def _row(found: object) -> Requirement:
    if not isinstance(found, Requirement):
        raise TypeError("it is no Requirement")
    return found


_OWN: Registry[Requirement] = Registry("requirement", {}, _row)


def front() -> tuple[Requirement, ...]:
    """The rows that the Pareto front and the search always weigh: latency, leakage, accuracy."""
    order = ("latency", "nmse", "accuracy_drop")  # the order of the search's objectives, kept in stored studies
    rows = [row for row in REQUIREMENTS.values() if row.on_front]
    return tuple(sorted(rows, key=lambda row: order.index(row.quantity) if row.quantity in order else len(order)))


class Budgets:
    """What a plan must meet; a budget that was not set is None. Values are SI numbers, or text such as "50ms".

    Attributes:
        max_latency: seconds, edge + link + cloud.
        max_accuracy_drop: absolute; 0.02 is two percentage points.
        max_ssim: highest structural similarity an attacker may reach, 0 to 1.
        min_nmse: lowest normalised error an attacker must be left with, 0 to 1.
        max_edge_memory: bytes.

    Every other row of `REQUIREMENTS` is an attribute too.

    Raises:
        AdvisorError: on a name that is no requirement, or a value that is no limit for it.
    """

    __slots__ = ("_foreign", "_limits")
    _limits: Mapping[str, float]
    _foreign: Mapping[str, float]

    def __init__(self, *in_order: Any, **by_name: Any) -> None:
        named = dict(zip(REQUIREMENTS, in_order, strict=False)) | by_name
        if len(in_order) > len(REQUIREMENTS):
            raise AdvisorError(f"There are {len(REQUIREMENTS)} requirements, not {len(in_order)}.", "Name them.")
        limits = {name: requirement(name).limit(value) for name, value in named.items() if value is not None}
        object.__setattr__(self, "_limits", MappingProxyType(limits))
        object.__setattr__(self, "_foreign", MappingProxyType({}))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("budgets are frozen: make others")

    def __getattr__(self, name: str) -> float | None:
        if name.startswith("_") or name not in REQUIREMENTS:
            raise AttributeError(f"there is no budget {name!r}")
        return self._limits.get(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_mapping, (dict(self._limits), dict(self._foreign))

    @property
    def limits(self) -> Mapping[str, float]:
        """The budgets that were set, in SI units, by name."""
        return self._limits

    @property
    def foreign(self) -> Mapping[str, float]:
        """Recorded limits of requirements that are code of somebody's own, which no file brings along."""
        return self._foreign

    def __iter__(self) -> Iterator[tuple[Requirement, float]]:
        """The rows that were set with their limits, in the table's order."""
        return ((row, self._limits[name]) for name, row in REQUIREMENTS.items() if name in self._limits)

    def excess(self, predicted: Mapping[str, Estimate]) -> dict[str, float]:
        """How far a plan is over each cost budget: budget name -> excess in the budget's unit; NaN = not measured."""
        missed = {
            row.name: row.missed_by(predicted.get(row.measurement), limit)
            for row, limit in self
            if not row.leakage and row.function is None
        }
        return {name: over for name, over in missed.items() if over != 0}

    @property
    def has_leakage(self) -> bool:
        """Whether the user stated a leakage budget."""
        return any(row.leakage for row, _ in self)

    def to_json(self) -> dict[str, float | None]:
        """Every budget by name, null where it was not set."""
        return {name: self._limits.get(name) for name in REQUIREMENTS} | dict(self._foreign)

    @classmethod
    def from_json(cls, payload: Any) -> Budgets:
        """Validate plain JSON values.

        Raises:
            ValueError: when they are no budgets.
        """
        if isinstance(payload, cls):
            return payload
        if not isinstance(payload, Mapping):
            raise ValueError("budgets are no object")
        payload = {name: value for name, value in payload.items() if value is not None or name in REQUIREMENTS}
        wrong = [name for name, value in payload.items() if not isinstance(value, int | float | None)]
        if wrong:
            raise ValueError(f"the budget {wrong[0]} is no number")
        foreign = {str(name): float(value) for name, value in payload.items() if name not in REQUIREMENTS}
        if len(foreign) > MOST_FOREIGN or not all(name.isidentifier() and len(name) <= LONGEST for name in foreign):
            raise ValueError("the budgets have names that are none")
        try:
            return _from_mapping({name: payload[name] for name in REQUIREMENTS if name in payload}, foreign)
        except AdvisorError as error:
            raise ValueError(error.problem) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Budgets) and (self._limits, self._foreign) == (other._limits, other._foreign)

    def __hash__(self) -> int:
        return hash(frozenset({**self._limits, **self._foreign}.items()))

    def __repr__(self) -> str:
        return f"Budgets({', '.join(f'{row.name}={limit:g}' for row, limit in self)})"


def requirement(name: str) -> Requirement:
    """The row of exactly this name.

    Raises:
        AdvisorError: when there is none; the message lists them.
    """
    if name not in REQUIREMENTS:
        raise AdvisorError(f"There is no requirement {name!r}.", f"Known: {', '.join(REQUIREMENTS)}.")
    return REQUIREMENTS[name]


def _from_mapping(limits: Mapping[str, float], foreign: Mapping[str, float]) -> Budgets:
    budgets = Budgets(**limits)
    object.__setattr__(budgets, "_foreign", MappingProxyType(dict(foreign)))
    return budgets


def checked_confidence(confidence: float | None) -> float | None:
    """The same, where it is a share between 0 and 1, or None.

    Raises:
        AdvisorError: otherwise.
    """
    if confidence is not None and not 0 < confidence < 1:
        raise AdvisorError(f"A confidence of {confidence:g} makes no sense.", "Pass a share such as 0.9.")
    return confidence
