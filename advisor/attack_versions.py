"""Which version of an attack found a number: one that attacks harder has a higher version, and older rows say less."""

from __future__ import annotations

FIRST = 1

CHANGED: dict[str, tuple[int, str]] = dict.fromkeys(
    ("ka", "shadow", "pmc", "mlp", "mlp-sim"), (2, "draws what is random in a defense anew in every pass")
) | {
    "wiener": (2, "solves in double precision: rounding could leave it with nothing"),
    "worst": (3, "has a linear filter that rounding cannot spoil"),
}
"""By name of the attack the version it has now and what that one does that those before did not; others have 1."""


def version_of(name: str) -> int:
    """The version that a built-in attack has now; 1 for one that was never changed, or that is a user's."""
    return CHANGED.get(name, (FIRST, ""))[0]


def outdated(name: str, version: int) -> str:
    """Why a number by that version should be found again, in words; "" where none came after it."""
    now, does = CHANGED.get(name, (FIRST, ""))
    return "" if version >= now else f"by version {version} of {name}; version {now} {does}: run it again"
