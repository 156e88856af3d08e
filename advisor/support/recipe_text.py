"""A fitted defense's recipe as text: `width=8,stride=2,sigma=0.2..1,tuned=cloud`."""

from __future__ import annotations

from typing import Any

from advisor.errors import AdvisorError


def read_recipe(text: str | None) -> dict[str, Any]:
    """Settings by name: whole numbers, numbers, ranges `low..high` and words.

    Raises:
        AdvisorError: on what is no setting.
    """
    found: dict[str, Any] = {}
    for pair in filter(None, (text or "").split(",")):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise AdvisorError(
                f"{pair[:60]!r} is no setting of a recipe.", "Write --recipe width=8,stride=2,sigma=0.2..1."
            )
        found[name] = _setting(value)
    return found


def _setting(value: str) -> Any:
    low, dots, high = value.partition("..")
    try:
        if dots:
            return float(low), float(high)
        return int(value) if value.lstrip("-").isdecimal() else float(value)
    except ValueError:
        return value
