"""SIGTERM and SIGHUP end a command as Ctrl-C does: what was found is kept."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from advisor.support.interrupts import SIGNALS, answered_by

GRACE = 5.0
"""Seconds after a signal in which further ones are taken for the same wish, so that saving is not cut short."""


AGAIN = 0.01
"""Seconds after which a signal whose exception was dropped is sent again."""


class Ending:
    """Raises KeyboardInterrupt, and remembers why.

    Attributes:
        number: of the signal that ended the command; SIGINT where none did.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.number = int(signal.SIGINT)
        self._clock, self._last = clock, -GRACE

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Obey the first signal, and one that comes when that did not help.

        Raises:
            KeyboardInterrupt: where it is obeyed.
        """
        now = self._clock()
        if now - self._last < GRACE:
            return
        self.note(number)
        self._last = now
        raise KeyboardInterrupt

    def note(self, number: int) -> None:
        """A signal was seen to by another."""
        self.number = number

    def again(self) -> None:
        """Send the signal again, as its exception was dropped."""
        self._last = -GRACE
        timer = threading.Timer(AGAIN, signal.raise_signal, (self.number,))
        timer.daemon = True
        timer.start()

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, as shells have it."""
        return 128 + self.number


@contextmanager
def obeyed() -> Iterator[Ending]:
    """While this lasts, signals end the command by KeyboardInterrupt; those that are ignored or caught stay so."""
    ending = Ending()
    with answered_by(ending, lambda usual: usual in (signal.SIG_DFL, signal.default_int_handler)), _not_dropped(ending):
        yield ending


@contextmanager
def _not_dropped(ending: Ending) -> Iterator[None]:
    """Python prints and drops what is raised in a destructor or a weak reference's callback: there the signal waits."""
    usual = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            ending.again()
        else:
            usual(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual


def end_at_once(code: int) -> None:
    """A command has ended: a signal while the interpreter clears up ends the process with its code, untold.

    Signals that are ignored stay so.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: os._exit(code))
