"""Which version of an attack found a number: one that attacks harder has a higher version, and older rows say less."""

from __future__ import annotations

FIRST = 1

DRAWS = "draws what is random in a defense anew in every pass"
HEARS = "reads what a far larger channel, what all elements share, or a long tail drowned before"

CHANGED: dict[str, tuple[int, str]] = {
    **dict.fromkeys(("pmc", "mlp", "mlp-sim"), (2, DRAWS)),
    **dict.fromkeys(("ka", "shadow"), (3, HEARS)),
    **dict.fromkeys(("wide", "sfd"), (2, HEARS)),
    "wiener": (3, HEARS),
    "worst": (5, HEARS),
}
"""By name of the attack the version it has now and what that one does that those before did not; others have 1."""


def version_of(name: str) -> int:
    """The version that a built-in attack has now; 1 for one that was never changed, or that is a user's."""
    return CHANGED.get(name, (FIRST, ""))[0]


def outdated(name: str, version: int) -> str:
    """Why a number by that version should be found again, in words; "" where none came after it."""
    now, does = CHANGED.get(name, (FIRST, ""))
    return "" if version >= now else f"by version {version} of {name}; version {now} {does}: run it again"
