"""Defenses as people write them: `int8`, `gaussian:sigma=0.5`, `gaussian:sigma=0.5+int8`."""

from __future__ import annotations

import dataclasses
from typing import Any

from advisor.defenses.payload.base import Defense
from advisor.defenses.payload.chain import Chain
from advisor.errors import AdvisorError


def parse_defense(text: str) -> Defense:
    """A defense from `name:key=value,...`; several joined by `+` make a chain.

    Raises:
        AdvisorError: on an unknown name or parameter, a missing one, or a value of the wrong kind.
    """
    members = [_member(part.strip(), text) for part in text.split("+")]
    return members[0] if len(members) == 1 else Chain(tuple(members))


def _member(part: str, whole: str) -> Defense:
    from advisor.defenses import DEFENSES

    name, _, rest = part.partition(":")
    if name not in DEFENSES:
        raise AdvisorError(f"There is no defense {name!r}.", f"Known: {', '.join(DEFENSES)}.")
    kind = DEFENSES[name]
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


def _value(value: str, kind: str, whole: str) -> Any:
    if kind == "str":
        return value
    try:
        return int(value) if kind == "int" else float(value)
    except ValueError:
        raise AdvisorError(f"{value!r} in {whole!r} is no number.", "Write gaussian:sigma=0.5.") from None
