"""The defenses. One more member is one more file and one more entry here."""

from __future__ import annotations

import math
from typing import Any

from advisor.defenses.payload.base import Defense
from advisor.defenses.payload.gaussian import GaussianNoise
from advisor.defenses.payload.none import NoDefense
from advisor.defenses.payload.quantize import Quantize8
from advisor.errors import AdvisorError

DEFENSES: dict[str, type[Defense]] = {kind.name: kind for kind in (NoDefense, GaussianNoise, Quantize8)}

SETS: dict[str, tuple[str, ...]] = {"none": ("none",), "free": ("none", "gaussian", "int8")}
"""Named sets for the search; `free` needs no training."""


def defense_names(wanted: str) -> tuple[str, ...]:
    """Expand a set's name or a comma-separated list of members.

    Raises:
        AdvisorError: on a name that is neither.
    """
    if wanted in SETS:
        return SETS[wanted]
    names = tuple(name.strip() for name in wanted.split(","))
    unknown = [name for name in names if name not in DEFENSES]
    if unknown:
        known = ", ".join(dict.fromkeys([*SETS, *DEFENSES]))
        raise AdvisorError(f"There is no defense {unknown[0]!r}.", f"Known: {known}.")
    return names


def defense_to_json(defense: Defense) -> dict[str, Any]:
    """Plain JSON values: name and parameters."""
    return {"name": defense.name, "parameters": defense.parameters}


def defense_from_json(payload: Any) -> Defense:
    """The inverse of `defense_to_json`; a `Defense` passes through."""
    if isinstance(payload, Defense):
        return payload
    name, parameters = (payload.get(key) if isinstance(payload, dict) else None for key in ("name", "parameters"))
    kind = DEFENSES.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(parameters, dict):
        raise ValueError(f"unknown defense {name!r}")
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in parameters.values()):
        raise ValueError(f"a parameter of {name} is no finite number")
    try:
        return kind(**parameters)
    except TypeError as error:  # a validator may raise a ValueError alone
        raise ValueError(f"{name}: {error}") from None


__all__ = [
    "DEFENSES",
    "SETS",
    "Defense",
    "GaussianNoise",
    "NoDefense",
    "Quantize8",
    "defense_from_json",
    "defense_names",
    "defense_to_json",
]
