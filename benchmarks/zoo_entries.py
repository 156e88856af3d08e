"""One model of the zoo: how it is built, what it takes, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Entry:
    """A model that the benchmark walks.

    Attributes:
        name: as its library calls it.
        make: builds it with random weights; the seed is set before.
        inputs: the user's inputs for so many samples.
        skip: why it is not walked at all; "" where it is.
        refused: a word of the line with which it must be refused, where torch admits no graph; "" where it must trace.
        seconds: the most that trace + cuts may take.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    skip: str = ""
    refused: str = ""
    seconds: float = float("inf")


def skipped(name: str, why: str) -> Entry:
    """A model that is listed but not walked."""
    return Entry(name, nn.Identity, arrays(1), skip=why)


def arrays(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Callable[[int], Tensor]:
    """Numbers in [0, 1), `[N, *shape]`."""
    return lambda n: torch.rand(n, *shape, generator=torch.Generator().manual_seed(n + seed)).to(dtype)


def tokens(vocabulary: int, *shape: int, seed: int = 0) -> Callable[[int], Tensor]:
    """Token ids `[N, *shape]`."""
    return lambda n: torch.randint(0, vocabulary, (n, *shape), generator=torch.Generator().manual_seed(n + seed))
