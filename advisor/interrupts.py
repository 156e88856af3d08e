"""Ctrl-C and its kin wait while something is finished that must not be left half-done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What a user, a container or a closed terminal sends to end a program."""


class Held:
    """The signals that arrived meanwhile."""

    def __init__(self) -> None:
        self.arrived: list[int] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal instead of obeying it."""
        self.arrived.append(number)

    def forget(self) -> bool:
        """Whether one arrived; it is then not obeyed later either, as the caller has seen to it."""
        was, self.arrived = bool(self.arrived), []
        return was


@contextmanager
def held() -> Iterator[Held]:
    """Let signals wait until the block is done, then obey the first. In another thread than the main one: nothing.

    A signal that is ignored stays ignored.
    """
    waiting = Held()
    try:
        with answered_by(waiting, lambda usual: usual not in (signal.SIG_IGN, None)):
            yield waiting
    finally:
        for number in waiting.arrived[:1]:
            signal.raise_signal(number)


@contextmanager
def answered_by(handler: Callable[[int, FrameType | None], None], takes: Callable[[Any], bool]) -> Iterator[None]:
    """Let one handler answer the signals whose usual one it takes the place of; in the main thread alone.

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
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)
