"""Column and Profile: what is known of each cut. Nothing here needs torch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from advisor.cuts import Cut
from advisor.errors import AdvisorError, CutError
from advisor.estimate import NORMAL_90, Estimate, Source, json_number
from advisor.files import replace_ours
from advisor.support.documents import holds, read_json
from advisor.support.schemas import SCHEMA_VERSION, Provenance, check_version, first_problem, plain

if TYPE_CHECKING:
    import pandas


def _array(values: Any) -> np.ndarray:
    try:
        array = np.array([math.nan if v is None else float(v) for v in values], dtype=float)
    except (TypeError, OverflowError) as error:  # a validator may raise a ValueError alone
        raise ValueError(str(error)) from None
    array.flags.writeable = False
    return array


def _json_list(values: np.ndarray) -> list[float | str | None]:
    return [json_number(v) for v in values]


Vector = Annotated[np.ndarray, BeforeValidator(_array), PlainSerializer(_json_list)]
"""A read-only float array, one value a cut; NaN ("not measured") is `null` in JSON."""


@dataclass(frozen=True, eq=False, config=ConfigDict(arbitrary_types_allowed=True))
class Column:
    """One quantity over all cuts; it describes itself.

    Attributes:
        name: its key in the profile.
        unit: SI unit, or "1".
        better: "low" or "high", seen from the user who wants privacy and speed.
        values, stderr, low, high: `[cuts]`; low and high are the 90 % interval; NaN means not measured.
        source: "measured", "estimated" or "bounded".
        method: how it was obtained, and on what.
        why: `[cuts]`; the reason of each NaN, "" elsewhere.
        cuts: `[cuts]`, of the profile that it stands in; empty where it stands in none.
    """

    name: str
    unit: str
    better: Literal["low", "high"]
    values: Vector
    stderr: Vector
    low: Vector
    high: Vector
    source: Source
    method: str = ""
    why: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = Field(default=(), exclude=True, repr=False)

    def __post_init__(self) -> None:
        size = len(self.values)
        if not self.why:
            object.__setattr__(self, "why", ("",) * size)
        lengths = {len(self.stderr), len(self.low), len(self.high), len(self.why)}
        if lengths != {size}:
            raise AdvisorError(f"Column {self.name!r} has parts of different lengths.", "This file may be damaged.")
        unexplained = [i for i in range(size) if math.isnan(self.values[i]) and not self.why[i]]
        if unexplained:
            raise ValueError(f"Column {self.name!r} has NaN without a reason at cuts {unexplained}.")

    @classmethod
    def of(
        cls,
        name: str,
        unit: str,
        better: Literal["low", "high"],
        values: Iterable[float],
        source: Source,
        *,
        stderr: Iterable[float] | None = None,
        low: Iterable[float] | None = None,
        high: Iterable[float] | None = None,
        method: str = "",
        why: Sequence[str] = (),
    ) -> Column:
        """Build a column; without spread it is exact, with `stderr` alone the interval is normal."""
        values = _array(values)
        error = np.where(np.isnan(values), np.nan, 0.0) if stderr is None else _array(stderr)
        half = NORMAL_90 * np.nan_to_num(error)
        return cls(
            name=name,
            unit=unit,
            better=better,
            values=values,
            stderr=error,
            low=values - half if low is None else _array(low),
            high=values + half if high is None else _array(high),
            source=source,
            method=method,
            why=tuple(why),
        )

    @classmethod
    def of_estimates(
        cls, name: str, better: Literal["low", "high"], estimates: Sequence[Estimate], why: Sequence[str] = ()
    ) -> Column:
        """Build a column from one `Estimate` a cut; source and method are of the first bound, else of the first."""
        first = next((estimate for estimate in estimates if estimate.source == "bounded"), estimates[0])
        return cls.of(
            name,
            first.unit,
            better,
            [e.value for e in estimates],
            first.source,
            stderr=[e.stderr for e in estimates],
            low=[e.low for e in estimates],
            high=[e.high for e in estimates],
            method=first.method,
            why=why,
        )

    def at(self, cut: Cut | int) -> Estimate:
        """The value at one cut, found by its name, or by its index where that is given, as an `Estimate`.

        Raises:
            CutError: when the profile has no such cut, or has one of that name of another graph.
        """
        i = cut if isinstance(cut, int) else self.row(cut)
        return Estimate(
            float(self.values[i]),
            float(self.stderr[i]),
            float(self.low[i]),
            float(self.high[i]),
            self.unit,
            self.source,
            self.method,
        )

    def row(self, cut: Cut) -> int:
        """Where a cut stands in the profile.

        Raises:
            CutError: as `at`.
        """
        own = next(((i, known) for i, known in enumerate(self.cuts) if known.name == cut.name), None)
        if own is None:
            raise CutError(f"This profile has no cut {cut.name!r}.", "Profile the graph that the cut is of.")
        if cut.graph and own[1].graph and cut.graph != own[1].graph:
            raise CutError(
                f"The cut {cut.name!r} is of another graph than this profile.", "Profile the graph that the cut is of."
            )
        return own[0]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Profile:
    """What is known of each cut: cuts × columns, and where it came from.

    `profile["rc2"].values` is aligned with `profile.cuts`. Saves to and loads from JSON.
    """

    cuts: tuple[Cut, ...]
    columns: dict[str, Column]
    provenance: Provenance = dataclasses.field(default_factory=dict)
    schema_version: str = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for column in self.columns.values():
            if len(column) != len(self.cuts):
                raise AdvisorError(
                    f"Column {column.name!r} has {len(column)} values for {len(self.cuts)} cuts.",
                    "This file may be damaged.",
                )
        bound = {name: dataclasses.replace(column, cuts=self.cuts) for name, column in self.columns.items()}
        object.__setattr__(self, "columns", bound)

    def __getitem__(self, name: str) -> Column:
        try:
            return self.columns[name]
        except KeyError:
            known = ", ".join(self.columns)
            raise AdvisorError(f"There is no column {name!r} in this profile.", f"It has: {known}.") from None

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns.values())

    def joined(self, *others: Profile) -> Profile:
        """This profile with the columns of `others`, which must have the same cuts; theirs win."""
        columns, provenance = dict(self.columns), dict(self.provenance)
        for other in others:
            if [cut.name for cut in other.cuts] != [cut.name for cut in self.cuts]:
                raise AdvisorError(
                    "The two profiles have different cuts: they are of different models.",
                    "Profile this model again with `advisor profile`.",
                )
            columns.update(other.columns)
            provenance.update(other.provenance)
        return Profile(self.cuts, columns, provenance)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a cut, one column a quantity, plus `_low` and `_high`; needs pandas."""
        try:
            import pandas
        except ImportError:
            raise AdvisorError("pandas is not installed.", "Run: pip install pandas") from None
        data: dict[str, Any] = {}
        for column in self:
            data[column.name] = column.values
            data[f"{column.name}_low"] = column.low
            data[f"{column.name}_high"] = column.high
        return pandas.DataFrame(data, index=pandas.Index([cut.name for cut in self.cuts], name="cut"))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return plain(_PROFILE, self)

    @classmethod
    def from_json(cls, payload: Any) -> Profile:
        """Validate plain JSON values.

        Raises:
            AdvisorError: when they are no profile, or of a newer major version.
        """
        check_version(payload, "profile")
        try:
            return _PROFILE.validate_python(payload)
        except (ValidationError, RecursionError) as error:
            raise AdvisorError(
                f"This is not a profile: {first_problem(error)}.", "Write it with `advisor profile`."
            ) from None

    def save(self, path: str | Path) -> None:
        """Write `profile.json` atomically.

        Raises:
            AdvisorError: when it cannot be written, or a file that is no profile is there.
        """
        replace_ours(Path(path), json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", is_profile)

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read `profile.json`.

        Raises:
            AdvisorError: when the file is missing, truncated or no profile.
        """
        return cls.from_json(read_json(path))


_PROFILE = TypeAdapter(Profile)

is_profile = holds(Profile.from_json)
"""Whether bytes are a profile: such a file may be replaced by another."""
