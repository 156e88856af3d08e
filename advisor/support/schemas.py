"""What our JSON files have in common: versions, plain values, where they came from, what a validator found in them."""

from __future__ import annotations

import re
from typing import Annotated, Any

import numpy as np
from pydantic import PlainSerializer, TypeAdapter, ValidationError

from advisor.errors import AdvisorError
from advisor.estimate import json_number
from advisor.support.safe_text import without_secrets

SCHEMA_VERSION = "1.1"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        return without_secrets(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return json_number(value) if isinstance(value, float) else value


Provenance = Annotated[dict[str, Any], PlainSerializer(_plain)]
"""Where something came from, as plain JSON values: without a NaN, half a surrogate pair, or a URL's secrets."""


def plain(adapter: TypeAdapter[Any], value: Any) -> dict[str, Any]:
    """A noun as plain JSON values; half a surrogate pair, as file names may hold, becomes an escape that is seen."""
    found: dict[str, Any] = _encodable(adapter.dump_python(value, mode="json"))
    return found


def _encodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_encodable(inner) for inner in value]
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def check_version(payload: Any, noun: str, newest: str = SCHEMA_VERSION) -> None:
    """Refuse a file written by a newer major version than `newest`."""
    named = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    if not isinstance(payload, dict):
        raise AdvisorError(f"This is not {named}: its top level is no JSON object.")
    version = str(payload.get("schema_version", SCHEMA_VERSION))
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})*", version):
        raise AdvisorError(f"This is not {named}: its schema_version is {version!r}.")
    if int(version.split(".")[0]) > int(newest.split(".")[0]):
        raise AdvisorError(
            f"This {noun} has schema version {version}, newer than this advisor's {newest}.",
            "Upgrade: pip install --upgrade partition-advisor",
        )


def first_problem(error: ValidationError | RecursionError) -> str:
    """The first thing a validator found, in one phrase."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    detail = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    said = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
