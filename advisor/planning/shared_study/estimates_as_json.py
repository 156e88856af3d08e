"""Estimates by quantity as plain JSON values, for results that others read, and back: not believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.planning.shared_study.results import Task, strange

_ESTIMATES = TypeAdapter(dict[str, Estimate])


def as_json(found: Mapping[str, Estimate]) -> dict[str, Any]:
    """Every field of every estimate."""
    payload: dict[str, Any] = _ESTIMATES.dump_python(dict(found), mode="json")
    return payload


def as_estimates(task: Task, payload: Any) -> dict[str, Estimate]:
    """The inverse.

    Raises:
        AdvisorError: on what we could not have written.
    """
    try:
        return _ESTIMATES.validate_python(payload)
    except (ValidationError, AdvisorError, ValueError) as error:
        raise strange(task, error) from None
