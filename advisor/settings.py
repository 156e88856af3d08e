"""`advisor.toml`, or `[tool.advisor]` of pyproject.toml: defaults for the harmless fields of a request, no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError
from advisor.recorded import is_catalog_device, is_catalog_link, is_named_defense
from advisor.request_parts import EFFORTS
from advisor.requirements import REQUIREMENTS, objective
from advisor.support.documents import read_toml
from advisor.task import check_kind

OWN, SHARED = "advisor.toml", "pyproject.toml"
LISTED = "requirements (budgets), objective, link, device, cloud, effort, seed, task and defenses"


def defaults(folder: Path) -> tuple[dict[str, Any], str]:
    """What a folder's settings say: keyword -> value, and the path that says so; ({}, "") where nothing does.

    Raises:
        AdvisorError: on a file that is no TOML, or that sets what a file may not set.
    """
    own = folder / OWN
    if own.exists():
        return checked(read_toml(own, "Correct it, or pass --no-config."), own), str(own)
    shared = folder / SHARED
    if not shared.exists():
        return {}, ""
    tool = read_toml(shared, "Correct it, or pass --no-config.").get("tool")
    said = tool.get("advisor") if isinstance(tool, dict) else None
    if said is None:
        return {}, ""
    return checked(said, f"{shared} [tool.advisor]"), f"{shared} [tool.advisor]"


def checked(said: Any, where: object) -> dict[str, Any]:
    """The settings as keywords.

    Raises:
        AdvisorError: on a key that is not listed or a value that is none; the message names the file and the key.
    """
    if not isinstance(said, Mapping):
        raise AdvisorError(f"{where}: settings are a table.", 'Write for example max-latency = "50ms".')
    found: dict[str, Any] = {}
    for key, value in said.items():
        name = key.replace("-", "_")
        if name not in READERS and name not in REQUIREMENTS:
            raise AdvisorError(
                f"{where}: {key[:60]!r} may not be set by a file.", f"A file sets {LISTED}; the rest is an option."
            )
        try:
            found[name] = REQUIREMENTS[name].limit(value) if name in REQUIREMENTS else READERS[name](value)
        except AdvisorError as error:
            raise AdvisorError(f"{where}: {error.problem}", f"{error.next_step} Or pass --no-config.".strip()) from None
    return found


def _text(name: str, accepted: Callable[[str], object], why: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not accepted(value):
            raise AdvisorError(f"{name} = {str(value)[:60]!r} {why}.")
        return value

    return read


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise AdvisorError(f"seed = {str(value)[:60]!r} is no whole number from 0.")
    return value


READERS: Mapping[str, Callable[[Any], Any]] = {
    "objective": _text("objective", objective, "is no text"),
    "link": _text("link", is_catalog_link, "is no link of the catalog; files are named on the command line"),
    "device": _text("device", is_catalog_device, "is no device of the catalog; others are named on the command line"),
    "cloud": _text("cloud", is_catalog_device, "is no device of the catalog; others are named on the command line"),
    "effort": _text("effort", lambda value: value in EFFORTS, f"is none of {', '.join(EFFORTS)}"),
    "seed": _seed,
    "task": _text("task", check_kind, "is no text"),
    "defenses": _text("defenses", is_named_defense, "names no installed defense"),
}
"""Keyword -> how its value is read; what is not here cannot be set by a file."""
