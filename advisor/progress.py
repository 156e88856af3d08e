"""Who is told how far a long piece of work is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called with the share of a piece of work that is done, 0 to 1, and what is worked on."""

    def __call__(self, share: float, what: str = "", /) -> None:
        """Tell how far it is."""


RunListener = Callable[[str, float, str], None]
"""What a caller of `recommend`, `check` or `export` gives: called with the stage, its share, and what is worked on."""


def silence(share: float, what: str = "", /) -> None:
    """Nobody is told."""


def part(whole: Progress, start: float, share: float, what: str = "") -> Progress:
    """Progress of a part that runs from `start` on over `share` of the whole.

    Args:
        what: said of the part where it does not say itself what is worked on.
    """
    return lambda done, said="", /: whole(start + share * done, said or what)


def about(whole: Progress, what: str) -> Progress:
    """Progress of the whole, where it does not say itself what is worked on."""
    return part(whole, 0.0, 1.0, what)


def of_stage(listener: RunListener | None, stage: str) -> Progress:
    """Progress of one stage of a run."""
    return silence if listener is None else lambda share, what="", /: listener(stage, share, what)


def of_steps(listener: Callable[[float, str], None] | None) -> Progress:
    """Progress that is told to a caller of `profile` or `leakage`."""
    return silence if listener is None else lambda share, what="", /: listener(share, what)


def of_shares(listener: Callable[[float], None] | None) -> Progress:
    """Progress that is told to a caller of `attack` or `defend`, who is given the share alone."""
    return silence if listener is None else lambda share, what="", /: listener(share)
