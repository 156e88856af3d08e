"""How much memory a run may use: what was stated, else what is free; sizes of chunks and caches follow it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from advisor.errors import AdvisorError
from advisor.units import show_size

LEAST = 2**30
"""Bytes: torch itself and a small model take about half of it."""

WORDS = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "bad_alloc")
"""What libraries say where Python would raise a MemoryError."""

GROUP = Path("/sys/fs/cgroup")

_stated: ContextVar[int | None] = ContextVar("memory", default=None)
_notes: ContextVar[list[str] | None] = ContextVar("memory notes", default=None)
_held: ContextVar[int] = ContextVar("memory that the process held at first", default=0)
_device: ContextVar[Callable[[], int | None]] = ContextVar("memory of the compute device", default=lambda: None)
_part: ContextVar[int] = ContextVar("part of the memory", default=1)


@contextmanager
def within(stated: int | None) -> Iterator[list[str]]:
    """Keep to so many bytes, or to what is free at the start of the block; yields what is said of it, as it happens.

    Raises:
        AdvisorError: where less than 1 GiB is stated.
    """
    if stated is not None and stated < LEAST:
        raise AdvisorError(f"{show_size(stated)} of memory are too little for torch and a model.", "Pass 1GiB or more.")
    said: list[str] = []
    tokens = _stated.set(available() if stated is None else stated), _notes.set(said)
    held = _held.set(resident() if stated is None else 0)
    try:
        yield said
    finally:
        _stated.reset(tokens[0])
        _notes.reset(tokens[1])
        _held.reset(held)


def limit() -> int:
    """Bytes that may be used: on the compute device, of the block under way, else what is free now."""
    there, stated = _device.get()(), _stated.get()
    most = there if there is not None else available() if stated is None else stated
    return most // _part.get()


def at_most(usual: int, part: int) -> int:
    """`usual` bytes, or one of so many equal parts of the limit where that is less."""
    return min(usual // _part.get(), limit() // part)


def left_for(usual: int, part: int) -> int:
    """`usual` bytes, or one of so many parts of what the run has left now: for what is kept to save time alone.

    It changes no number, and so may follow what the process holds, which is never quite the same twice.
    """
    stated = _stated.get()
    if stated is None or _device.get()() is not None:
        return at_most(usual, part)
    left = max(0, stated - max(0, resident() - _held.get())) // _part.get()
    return min(usual // _part.get(), left // part)


@contextmanager
def of_device(free: Callable[[], int | None]) -> Iterator[None]:
    """Within the block memory is that of a device, as it tells itself; None: it is this computer's."""
    token = _device.set(free)
    try:
        yield
    finally:
        _device.reset(token)


@contextmanager
def halved() -> Iterator[None]:
    """Within the block there is half as much, for chunks and caches alike."""
    token = _part.set(2 * _part.get())
    try:
        yield
    finally:
        _part.reset(token)


def say(sentence: str) -> None:
    """Note what was done for want of memory, once."""
    said = _notes.get()
    if said is not None and sentence not in said:
        said.append(sentence)


def is_lack(error: BaseException) -> bool:
    """Whether an error is a lack of memory, by whatever name."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in WORDS)


def give_back() -> None:
    """Return what was freed to the system: glibc keeps it, and the next stage takes other memory beside it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    told = Path("/proc/self/statm")
    return int(told.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") if told.is_file() else 0


def available() -> int:
    """Bytes free now: what the system says, and a container's limit where there is one."""
    free = _of_the_system()
    group = _of_the_group()
    return free if group is None else min(free, group)


def _of_the_system() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 if hasattr(os, "sysconf") else 4 * LEAST


def _of_the_group() -> int | None:
    """What a container (cgroup 2) may still take; None where nothing bounds it."""
    most, used = (GROUP / f"memory.{name}" for name in ("max", "current"))
    if not (most.is_file() and used.is_file()):
        return None
    stated = most.read_text(encoding="utf-8").strip()
    return None if stated == "max" else max(0, int(stated) - int(used.read_text(encoding="utf-8")))
