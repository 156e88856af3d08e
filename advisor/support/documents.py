"""JSON and TOML that a stranger may have written: of a sane size, depth and range, or refused in one line."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError
from advisor.files import IsOurs, read_bytes

DEEPEST = 64
LARGEST_TOML = 8 * 2**20
LARGEST_INTEGER = 2**63 - 1


def read_json(path: str | Path) -> Any:
    """Parse a JSON file.

    Raises:
        AdvisorError: when it is missing, no plain file, or no JSON that we could have written.
    """
    return parse_json(read_bytes(path), path)


def parse_json(data: bytes | str, where: object) -> Any:
    """Parse JSON: no key twice, no NaN, no number beyond 64 bits, no half of a character, at most `DEEPEST` levels.

    Args:
        data: UTF-8.
        where: it came from, for the message.

    Raises:
        AdvisorError: on anything else.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_refused
        )
        _check(value)
    except (ValueError, RecursionError) as error:  # ValueError: bad UTF-8, bad JSON, and what the hooks refuse
        raise AdvisorError(
            f"{where} is not readable JSON: {_reason(error)}.", "It may be truncated; write it again."
        ) from None
    return value


def read_toml(path: str | Path, next_step: str = "") -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        AdvisorError: when it is missing, no plain file, or no TOML of sane depth and numbers.
    """
    return parse_toml(read_bytes(path, LARGEST_TOML), path, next_step)


def parse_toml(data: bytes, where: object, next_step: str = "") -> dict[str, Any]:
    """Parse TOML; see `read_toml`.

    Raises:
        AdvisorError: when it is none.
    """
    try:
        text = data.decode("utf-8")
        if (deepest := max((line.count(".") for line in text.splitlines()), default=0)) > 1000:
            raise ValueError(f"a line has {deepest} dots")  # tomllib takes the square of them
        value = tomllib.loads(text)
        _check(value)
    except (ValueError, RecursionError) as error:
        raise AdvisorError(f"{where} is no readable TOML: {_reason(error)}.", next_step) from None
    return value


def as_text(payload: Any, levels: int = 3) -> str:
    """JSON that two versions of a file differ in by lines, and that is little longer than it must be.

    Args:
        payload: plain JSON values.
        levels: of objects and lists whose members stand on lines of their own; what is deeper stands on one line.
    """
    nested = isinstance(payload, dict | list) and any(isinstance(part, dict | list) for part in _members(payload))
    if levels == 0 or not nested:
        return json.dumps(payload, separators=(",", ":"), allow_nan=False)
    members = [as_text(part, levels - 1) for part in _members(payload)]
    if isinstance(payload, dict):
        members = [f"{json.dumps(key)}:{text}" for key, text in zip(payload, members, strict=True)]
    first, last = "{}" if isinstance(payload, dict) else "[]"
    return f"{first}\n" + ",\n".join(members) + f"\n{last}"


def _members(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def digest_of(payload: Any) -> str:
    """SHA-256 in hexadecimal of plain JSON values, however they were laid out in a file.

    It is taken of the UTF-8 of JSON with sorted keys, no blanks, and nothing escaped that need not be.
    """
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def holds(validate: Callable[[Any], object]) -> IsOurs:
    """Whether bytes are JSON that `validate` takes: how a file of ours is told from others."""

    def is_ours(data: bytes) -> bool:
        try:
            validate(parse_json(data, "it"))
        except AdvisorError:
            return False
        return True

    return is_ours


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!r} is there twice")
        found[name] = value
    return found


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:30]} is too large a number")
    return value


def _refused(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _check(value: Any) -> None:
    """Refuse what later code would choke on; without recursion, as depth is one of these things."""
    todo = [(value, 0)]
    while todo:
        inner, depth = todo.pop()
        if depth > DEEPEST:
            raise ValueError(f"it is more than {DEEPEST} levels deep")
        for part in _parts(inner):
            if isinstance(part, dict | list):
                todo.append((part, depth + 1))
            elif isinstance(part, str) and not part.isascii():
                part.encode("utf-8")  # half of a surrogate pair: UnicodeEncodeError is a ValueError
            elif isinstance(part, int) and abs(part) > LARGEST_INTEGER:
                raise ValueError("a number is beyond 64 bits")


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value
    else:
        yield value


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return f"it is no UTF-8 ({error})"
    return str(error)
