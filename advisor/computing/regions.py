"""Functions that compute on the compute device: what they are given is taken there, what they return comes back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import torch

from advisor.computing.chosen_device import CPU, current, elsewhere, free
from advisor.computing.moves import moved
from advisor.computing.on_device import OnDevice
from advisor.errors import AdvisorError, first_line
from advisor.support import memory_limit

P = ParamSpec("P")
R = TypeVar("R")

LOST = ("cuda error", "hip error", "mps backend", "device-side assert", "no longer accessible")
"""What torch says of a GPU that does not answer."""

_inside: ContextVar[bool] = ContextVar("on the compute device", default=False)


def place() -> torch.device:
    """Where tensors are made: on the compute device within such a function, else on the CPU."""
    return current() if _inside.get() else torch.device(CPU)


def on_the_device(function: Callable[P, R]) -> Callable[P, R]:
    """The function with its arguments on the compute device and its results on the CPU; on the CPU it is as it is.

    Where memory ends there, it is called once more with half as much for each chunk and cache, which is said.

    Raises:
        AdvisorError: where memory ends again, or the device is lost.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if not elsewhere() or _inside.get():
            return function(*args, **kwargs)
        try:
            return _there(function, args, kwargs)
        except (MemoryError, RuntimeError) as error:
            if not memory_limit.is_lack(error):
                raise _lost(error) from None
        memory_limit.say(f"The memory of {current()} ran out: it was then used for half as much at a time.")
        try:
            with memory_limit.halved():
                return _there(function, args, kwargs)
        except (MemoryError, RuntimeError) as error:
            if not memory_limit.is_lack(error):
                raise _lost(error) from None
        raise AdvisorError(
            f"The memory of {current()} is too small for this model and its samples.",
            "Pass fewer or smaller samples, or --compute cpu.",
        )

    return called


def _there(function: Callable[..., R], args: tuple[object, ...], kwargs: dict[str, object]) -> R:
    device = current()
    given, named = moved(args, device), moved(kwargs, device)
    with _entered(device):
        found = function(*given, **named)
    back: R = moved(found, torch.device(CPU))
    return back


@contextmanager
def _entered(device: torch.device) -> Iterator[None]:
    token = _inside.set(True)
    try:
        with OnDevice(device), memory_limit.of_device(free):
            yield
    finally:
        _inside.reset(token)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _lost(error: BaseException) -> BaseException:
    """The error itself, or in one line where it says that the device does not answer."""
    if not any(words in str(error).lower() for words in LOST):
        return error
    return AdvisorError(
        f"{current()} was lost: {first_line(error)}.",
        "Run again with --compute cpu; with --storage it goes on where it stopped.",
    )
