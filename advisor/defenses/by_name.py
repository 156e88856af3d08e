"""Payload defenses by name, as text (`gaussian:sigma=0.5+int8`) and as data."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from advisor.defenses.payload.absent import AbsentDefense, may_be_one, shown
from advisor.defenses.payload.base import Defense
from advisor.defenses.payload.chain import Chain
from advisor.defenses.payload.none import NoDefense
from advisor.errors import AdvisorError
from advisor.registry import Registry, known_names

_BUILT_IN = {
    "none": "advisor.defenses.payload.none:NoDefense",
    "gaussian": "advisor.defenses.payload.gaussian:GaussianNoise",
    "fp16": "advisor.defenses.payload.half_precision:HalfPrecision",
    "int8": "advisor.defenses.payload.quantize:Quantize8",
    "reparam": "advisor.defenses.payload.reparam:Reparam",
}
"""One more is one more file in `payload/` and one more line here."""

TRAINED = (
    "tuned", "bottleneck", "refil", "infoscissors", "mid", "adversarial", "ridge", "tuned-bare", "local-head",
)  # fmt: skip
"""Names of `advisor.defenses.methods`: each must be fitted, and is then a variant."""

SETS: dict[str, tuple[str, ...]] = {"none": ("none",), "free": ("none", "gaussian", "int8")}
"""Named sets for the search; `free` needs no training."""


def _made(found: object) -> type[Defense]:
    if not (isinstance(found, type) and issubclass(found, Defense)):
        raise TypeError("it is no subclass of advisor.Defense")
    return found


DEFENSES: Registry[type[Defense]] = Registry("defense", _BUILT_IN, _made)


def defense_names(wanted: str) -> tuple[str, ...]:
    """Expand a set's name or a comma-separated list of members; a member of your own as `package.module:Name`.

    Raises:
        AdvisorError: on a name that is neither.
    """
    if wanted in SETS:
        return SETS[wanted]
    names = tuple(name.strip() for name in wanted.split(","))
    for name in names:
        _known(name, (*SETS, *DEFENSES))
    return names


def as_defense(wanted: Defense | str | None) -> Defense:
    """A defense as it is, or from its text; None is no defense.

    Raises:
        AdvisorError: on a text that names none.
    """
    if wanted is None:
        return NoDefense()
    return parse_defense(wanted) if isinstance(wanted, str) else wanted


# ---- as text -----------------------------------------------------------------------------------------------------

_JOINT = re.compile(r"\+(?!\d)")  # not that of 1e+16
_SHOWN = re.compile(r"(\w+)\((.*)\)")
_MODULE = re.compile(r"\w+(?:\.\w+)+")


def parse_defense(text: str) -> Defense:
    """A defense from `name:key=value,...`, or as it is shown, `name(key=value, ...)`; `+` makes a chain of several.

    Raises:
        AdvisorError: on an unknown name or parameter, a missing one, or a value of the wrong kind.
    """
    members = [_member(part.strip(), text) for part in _JOINT.split(text)]
    return members[0] if len(members) == 1 else Chain(tuple(members))


def _member(part: str, whole: str) -> Defense:
    if shown := _SHOWN.fullmatch(part):
        name, rest = shown.groups()
    else:
        name, _, rest = part.partition(":")
    if _MODULE.fullmatch(name):  # package.module:Name
        inner, _, rest = rest.partition(":")
        name = f"{name}:{inner}"
    kind = _known(name, tuple(DEFENSES))
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    parameters: dict[str, Any] = {}
    for pair in filter(None, rest.split(",")):
        key, _, value = (piece.strip() for piece in pair.partition("="))
        if key not in fields:
            raise AdvisorError(f"Defense {name} has no parameter {key!r}.", f"It has: {', '.join(fields) or 'none'}.")
        parameters[key] = _value(value, str(fields[key].type), whole)
    missing = [key for key, f in fields.items() if f.default is dataclasses.MISSING and key not in parameters]
    if missing:
        raise AdvisorError(f"Defense {name} needs {missing[0]}.", f"Write {name}:{missing[0]}=0.5.")
    return kind(**parameters)


def _known(name: str, known: tuple[str, ...]) -> type[Defense]:
    if name in DEFENSES or ":" in name:
        return DEFENSES.find(name)
    if name in TRAINED:
        raise AdvisorError(
            f"The defense {name!r} has to be fitted first.",
            f"Make a variant with advisor.defend(graph, cut, {name!r}, x), or load one with advisor.load_variant.",
        )
    raise AdvisorError(f"There is no defense {name!r}.", known_names(name, tuple(dict.fromkeys(known))))


def _value(value: str, kind: str, whole: str) -> Any:
    if kind == "str":
        return value
    try:
        return int(value) if kind == "int" else float(value)
    except ValueError:
        raise AdvisorError(f"{value!r} in {whole!r} is no number.", "Write gaussian:sigma=0.5.") from None


# ---- as data -----------------------------------------------------------------------------------------------------


def defense_to_json(defense: Defense) -> dict[str, Any]:
    """Plain JSON values: name and parameters."""
    return {"name": defense.name, "parameters": defense.parameters}


def defense_from_json(payload: Any) -> Defense:
    """The inverse of `defense_to_json`; a `Defense` passes through. Names a file gives are looked up, never imported:
    a user's own is known where it is installed, or was named by its dotted path before.

    Raises:
        ValueError: when it is none.
    """
    if isinstance(payload, Defense):
        return payload
    name, parameters = (payload.get(key) if isinstance(payload, dict) else None for key in ("name", "parameters"))
    if not isinstance(name, str) or not isinstance(parameters, dict):
        raise ValueError(f"unknown defense {name!r}")
    if name == Chain.name:
        rows = parameters.get("members")
        if not isinstance(rows, list) or any(isinstance(row, dict) and row.get("name") == name for row in rows):
            raise ValueError("a chain's members are a list of defenses that are no chains")
        return Chain(tuple(defense_from_json(row) for row in rows))
    member = DEFENSES[name] if name in DEFENSES else DEFENSES.loaded(name)
    if member is None:
        own = "; one of your own is an entry point, or named with --defenses first" if ":" in name else ""
        raise ValueError(f"unknown defense {name!r}{own}")
    try:
        return member.of_parameters(parameters)
    except TypeError as error:  # a validator may raise a ValueError alone
        raise ValueError(f"{name}: {error}") from None


def recorded_defense(payload: Any) -> Defense:
    """As `defense_from_json`; of a user's own whose code is not here an `AbsentDefense`: nothing is imported.

    Raises:
        ValueError: when it is no defense at all.
    """
    rows = _rows(payload)
    missing = tuple(row["name"] for row in rows if _is_absent(row))
    if not missing:
        return defense_from_json(payload)
    parts = (shown(row["name"], row["parameters"]) if _is_absent(row) else str(defense_from_json(row)) for row in rows)
    return AbsentDefense(payload["name"], payload["parameters"], missing, " + ".join(parts))


def _rows(payload: Any) -> list[Any]:
    """The members of a recorded chain; itself where it is none."""
    if not isinstance(payload, dict) or payload.get("name") != Chain.name:
        return [payload]
    parameters = payload.get("parameters")
    rows = parameters.get("members") if isinstance(parameters, dict) else None
    return rows if isinstance(rows, list) else [payload]


def _is_absent(row: Any) -> bool:
    name, parameters = (row.get(key) if isinstance(row, dict) else None for key in ("name", "parameters"))
    if not isinstance(name, str) or name == Chain.name or not may_be_one(name, parameters):
        return False
    if name in _BUILT_IN or DEFENSES.loaded(name) is not None:
        return False
    return name not in DEFENSES.working()
