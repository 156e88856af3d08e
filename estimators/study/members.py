"""Which estimators a study runs: the registry's, the study's own, and those that are named by a dotted path."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from advisor.cut_view import Estimator
from advisor.errors import AdvisorError
from advisor.estimators import ESTIMATORS
from advisor.registry import PlugInWarning

DERIVED = {
    "score": ("ka_nmse", "linear_nmse", "kernel_nmse", "linear_gain"),
    "score_ssim": ("ka_nmse", "linear_nmse", "kernel_nmse", "linear_gain"),
    "in_zone": ("ka_nmse", "linear_nmse", "kernel_nmse", "linear_gain"),
    "rc2_drop": ("rc2",),
    "in_gpz": ("rc2",),
}
"""Columns that follow from measured ones, and from which."""


def chosen(only: Sequence[str] | None, own: Sequence[Estimator]) -> tuple[list[Estimator], tuple[str, ...] | None]:
    """The estimators to run, and the names of the columns to keep; None keeps all.

    Args:
        only: columns, or `package.module:Name` for all columns of an estimator; None for all of all.
        own: estimators that are no members of the registry, because they keep more than columns.

    Raises:
        AdvisorError: on an unknown column, or a path that leads to no estimator.
    """
    named = {name: ESTIMATORS.find(name) for name in only or () if ":" in name}
    members = _without_clashes([*ESTIMATORS.working().values(), *own, *named.values()])
    if only is None:
        return members, None
    names = tuple(column for name in only for column in (columns_of(named[name]) if name in named else (name,)))
    measured = {column for member in members for column in columns_of(member)}
    unknown = [name for name in names if name not in measured | set(DERIVED)]
    if unknown:
        known = ", ".join(sorted(measured | set(DERIVED)))
        raise AdvisorError(f"There is no leakage column {unknown[0]!r}.", f"Known: {known}.")
    needed = {source for name in names for source in DERIVED.get(name, (name,))}
    return [member for member in members if needed & set(columns_of(member))], names


def columns_of(member: Estimator) -> tuple[str, ...]:
    """The names of an estimator's columns."""
    return tuple(spec.name for spec in member.columns)


def _without_clashes(members: Sequence[Estimator]) -> list[Estimator]:
    """Those that measure a column first; the built-in ones come first, so a user's never takes their place."""
    kept: list[Estimator] = []
    for member in members:
        taken = {column for other in kept for column in columns_of(other)} | set(DERIVED)
        if clash := sorted(taken & set(columns_of(member))):
            said = f"The estimator of {', '.join(columns_of(member))} is left out: {clash[0]} is measured already."
            warnings.warn(said, PlugInWarning, stacklevel=2)
        else:
            kept.append(member)
    return kept
