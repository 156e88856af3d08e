"""How far a long run is, on standard error: a bar for each stage on a terminal, else a line each tenth of a stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from advisor.units import show_duration

if TYPE_CHECKING:
    from rich.progress import TaskID

STAGES = {
    "load": "Loading the model",
    "trace": "Tracing and cutting",
    "data": "Preparing samples",
    "cost": "Pricing every cut",
    "calibrate": "Timing operators",
    "leakage": "Measuring leakage",
    "search": "Searching for plans",
    "fit": "Fitting defenses",
    "verify": "Attacking the best plans",
    "attack": "Attacking",
}
"""Stage -> what it does, for people."""

WHAT_WIDTH = 32
TENTH, SELDOM = 0.1, 5.0
"""A line each so much of a stage, and no more often than every so many seconds."""


class _Display(Protocol):
    def update(self, stage: str, share: float, what: str) -> None: ...

    def tell(self, sentence: str) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class StageProgress:
    """A context manager that is called as (stage, share done from 0 to 1, what is being worked on).

    Attributes:
        seconds: wall time of each stage that was entered, in order.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        stream = sys.stderr if stream is None else stream
        self.seconds: dict[str, float] = {}
        self._display: _Display = _Bars(stream) if stream.isatty() else _Lines(stream, clock)
        self._clock, self._stage, self._since = clock, "", 0.0

    def __call__(self, stage: str, share: float, what: str = "") -> None:
        """Show that `share` of `stage` is done."""
        from advisor.reports.content.text import shorten

        if stage == "plan":
            self._display.tell(what)
            return
        if stage != self._stage:
            self._close()
            self._stage, self._since = stage, self._clock()
        self._display.update(stage, min(max(share, 0.0), 1.0), shorten(what, WHAT_WIDTH))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal alone for a question to the user."""
        self._display.pause()
        try:
            yield
        finally:
            self._display.resume()

    def summary(self) -> str:
        """`Took 12.3 s: load 0.4 s, trace 1.2 s, …`; "" when no stage was entered."""
        parts = ", ".join(f"{stage} {show_duration(seconds)}" for stage, seconds in self.seconds.items())
        return f"Took {show_duration(sum(self.seconds.values()))}: {parts}." if parts else ""

    def __enter__(self) -> Self:
        self._display.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._display.pause()

    def _close(self) -> None:
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + self._clock() - self._since
        self._stage = ""


class _Lines:
    """For logs and pipes: a plain line when a stage begins, and one each tenth of a stage that takes long."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream, self._clock = stream, clock
        self._begun: dict[str, float] = {}
        self._told, self._last = 0.0, 0.0

    def update(self, stage: str, share: float, what: str) -> None:
        if stage not in self._begun:
            self._begun[stage] = self._last = self._clock()
            self._told = 0.0
            print(f"{_title(stage)} …", file=self._stream, flush=True)
        elif share - self._told >= TENTH and share < 1 and (now := self._clock()) - self._last >= SELDOM:
            left = (now - self._begun[stage]) * (1 - share) / share
            self._told, self._last = share, now
            print(f"{_title(stage)}: {share:.0%}, about {show_duration(left)} left", file=self._stream, flush=True)

    def tell(self, sentence: str) -> None:
        print(sentence, file=self._stream, flush=True)

    def pause(self) -> None:
        self._stream.flush()

    def resume(self) -> None:
        self._stream.flush()


class _Bars:
    """A bar for each stage; those that are done stay in sight."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[what]}", markup=False),  # names of cuts come from the model
            console=Console(file=stream),
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._current = ""

    def update(self, stage: str, share: float, what: str) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(f"{_title(stage):<24}", total=1.0, what="")
        if self._current and self._current != stage:
            self._bars.update(self._tasks[self._current], completed=1.0, what="")
            self._bars.stop_task(self._tasks[self._current])
        self._current = stage
        self._bars.update(self._tasks[stage], completed=share, what=what)

    def tell(self, sentence: str) -> None:
        self._bars.console.print(sentence, markup=False, highlight=False)

    def pause(self) -> None:
        self._bars.stop()

    def resume(self) -> None:
        self._bars.start()


def _title(stage: str) -> str:
    return STAGES.get(stage, stage)
