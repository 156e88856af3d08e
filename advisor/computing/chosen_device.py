"""The compute device of a run: what was asked for, held against what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from advisor.errors import AdvisorError
from advisor.units import show_size

if TYPE_CHECKING:
    import torch

DEFAULT = "auto"
KNOWN = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
CPU = "cpu"

_current: ContextVar[torch.device | None] = ContextVar("compute device", default=None)


def check_name(text: str) -> None:
    """Refuse what names no device; whether it is there is another question.

    Raises:
        AdvisorError: on anything but auto, cpu, cuda, cuda:N and mps.
    """
    if KNOWN.fullmatch(text) is None:
        raise AdvisorError(f"There is no compute device {text[:40]!r}.", "Use auto, cpu, cuda, cuda:1 or mps.")


def chosen(wanted: str) -> torch.device:
    """The device that is meant; `auto` takes cuda, then mps, then cpu.

    Raises:
        AdvisorError: when there is no such device, or none here; the message names those that are here.
    """
    import torch

    check_name(wanted)
    here = present()
    if wanted == DEFAULT:
        return torch.device(here[0])
    found = "cuda:0" if wanted == "cuda" else wanted
    if found not in here:
        raise AdvisorError(f"This computer has no {found} that torch can use.", f"Use --compute {' or '.join(here)}.")
    return torch.device(found)


def present() -> tuple[str, ...]:
    """The devices of this computer, the fastest kind first."""
    import torch

    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return (*cuda, *(["mps"] if torch.backends.mps.is_available() else []), CPU)


@contextmanager
def computing_on(wanted: str | torch.device | None) -> Iterator[torch.device]:
    """Compute on a device within the block; None: on that of the block around it, else as `auto`.

    Raises:
        AdvisorError: as `chosen`.
    """
    if wanted is None:
        wanted = _current.get() or DEFAULT
    token = _current.set(chosen(wanted) if isinstance(wanted, str) else wanted)
    try:
        yield current()
    finally:
        _current.reset(token)


def current() -> torch.device:
    """The compute device of the run under way."""
    import torch

    return _current.get() or torch.device(CPU)


def elsewhere() -> bool:
    """Whether that is another than the CPU."""
    device = _current.get()
    return device is not None and device.type != CPU


def free() -> int | None:
    """Bytes free on it, those that torch holds for reuse included; None where it does not say, and for the CPU."""
    import torch

    device = current()
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def said() -> str:
    """The device in words: `cpu`, or `cuda:0 (NVIDIA L4, 22 GiB free)`."""
    import torch

    device, left = current(), free()
    return str(device) if left is None else f"{device} ({torch.cuda.get_device_name(device)}, {show_size(left)} free)"
