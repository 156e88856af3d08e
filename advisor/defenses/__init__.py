"""Payload defenses by name. One more member is one more file in `payload/` and one more entry here."""

from __future__ import annotations

import math
from typing import Any

from advisor.defenses.payload.base import CutFacts, Defense
from advisor.defenses.payload.chain import Chain
from advisor.defenses.payload.gaussian import GaussianNoise
from advisor.defenses.payload.none import NoDefense
from advisor.defenses.payload.quantize import Quantize8
from advisor.defenses.text import parse_defense
from advisor.errors import AdvisorError

DEFENSES: dict[str, type[Defense]] = {kind.name: kind for kind in (NoDefense, GaussianNoise, Quantize8)}
"""Every payload defense by name; a user's own is one more entry."""

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


def as_defense(wanted: Defense | str | None) -> Defense:
    """A defense as it is, or from its text; None is no defense.

    Raises:
        AdvisorError: on a text that names none.
    """
    if wanted is None:
        return NoDefense()
    return parse_defense(wanted) if isinstance(wanted, str) else wanted


def defense_to_json(defense: Defense) -> dict[str, Any]:
    """Plain JSON values: name and parameters."""
    return {"name": defense.name, "parameters": defense.parameters}


def defense_from_json(payload: Any) -> Defense:
    """The inverse of `defense_to_json`; a `Defense` passes through."""
    if isinstance(payload, Defense):
        return payload
    name, parameters = (payload.get(key) if isinstance(payload, dict) else None for key in ("name", "parameters"))
    kind = Chain if name == Chain.name else DEFENSES.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(parameters, dict):
        raise ValueError(f"unknown defense {name!r}")
    try:
        return kind.of_parameters(parameters)
    except TypeError as error:  # a validator may raise a ValueError alone
        raise ValueError(f"{name}: {error}") from None


__all__ = [
    "DEFENSES",
    "SETS",
    "Chain",
    "CutFacts",
    "Defense",
    "GaussianNoise",
    "NoDefense",
    "Quantize8",
    "as_defense",
    "defense_from_json",
    "defense_names",
    "defense_to_json",
    "parse_defense",
]
