"""Ctrl-C and its kin wait while something is finished that must not be left half-done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
    if threading.current_thread() is not threading.main_thread():
        yield waiting
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    caught = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in caught:
        signal.signal(number, waiting)
    try:
        yield waiting
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
        for number in waiting.arrived[:1]:
            signal.raise_signal(number)
