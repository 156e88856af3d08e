"""Ctrl-C and its kin wait while something is finished that must not be left half-done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What a user, a container or a closed terminal sends to end a program."""


class Held:
    """The signals that arrived meanwhile.

    Attributes:
        arrived: their numbers.
        usual: what answers them otherwise.
    """

    def __init__(self) -> None:
        self.arrived: list[int] = []
        self.usual: Mapping[int, Any] = {}

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal instead of obeying it."""
        self.arrived.append(number)

    def forget(self) -> bool:
        """Whether one arrived; it is then not obeyed later either, as the caller has seen to it.

        A usual answer that has a `note` is told which it was: a command ends with the signal's exit code.
        """
        was, self.arrived = self.arrived, []
        for number in was[:1]:
            if note := getattr(self.usual.get(number), "note", None):
                note(number)
        return bool(was)


@contextmanager
def held() -> Iterator[Held]:
    """Let signals wait until the block is done, then obey the first. In another thread than the main one: nothing.

    A signal that is ignored stays ignored.
    """
    waiting = Held()
    try:
        with answered_by(waiting, lambda usual: usual not in (signal.SIG_IGN, None)) as usual:
            waiting.usual = usual
            yield waiting
    finally:
        for number in waiting.arrived[:1]:
            signal.raise_signal(number)


@contextmanager
def answered_by(
    handler: Callable[[int, FrameType | None], None], takes: Callable[[Any], bool]
) -> Iterator[Mapping[int, Any]]:
    """Let one handler answer the signals whose usual one it takes the place of, which are given; main thread alone.

    Args:
        handler: that answers while this lasts.
        takes: whether it takes the place of a handler.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: usual for number in SIGNALS if takes(usual := signal.getsignal(number))}
    for number in before:
        signal.signal(number, handler)
    try:
        yield before
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)
