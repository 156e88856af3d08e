"""On how many cores work is done: small operations on one, large ones side by side; the answer is the same on any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch

from advisor.computing.chosen_device import elsewhere

Spread = Callable[..., Iterator[Any]]
"""As `map`: results in the order of the items, whichever is done first."""

MOST_AT_ONCE = 4
"""Calls: each has its own part of the data in memory."""

_outside: list[int] = []
"""Threads that torch had at each `one_thread` that is open; the first is what the user allows."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Small operations on one core: on two, threads waiting for each other made the estimators five times slower."""
    _outside.append(torch.get_num_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(_outside.pop())


@contextmanager
def side_by_side() -> Iterator[Spread]:
    """A `map` whose calls run at once, one core each, on up to `MOST_AT_ONCE` of those that torch may use.

    Calls keep the caller's grad mode. They must not draw random numbers, as their order would matter.
    """
    with one_thread():
        cores = min(MOST_AT_ONCE, _outside[0])
        if cores == 1 or elsewhere():  # a GPU is kept busy by one thread
            yield map
            return
        with ThreadPoolExecutor(cores) as pool:
            yield lambda function, *items: pool.map(_in_mode(function, torch.is_grad_enabled()), *items)


def few_ahead(spread: Spread, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """`map` through `spread`, at most `MOST_AT_ONCE` results ahead of the caller: what is not taken is not computed."""
    rest = iter(items)
    while group := list(islice(rest, MOST_AT_ONCE)):
        yield from spread(function, group)


def _in_mode(function: Callable[..., Any], enabled: bool) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        with torch.set_grad_enabled(enabled):
            return function(*arguments)

    return called
