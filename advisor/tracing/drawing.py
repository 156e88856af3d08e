"""Other samples of the kind of an example: what is found on them cannot be owed to the example."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def other_rows(
    example: Sequence[Tensor], rows: int, vocabularies: Sequence[int | None] = ()
) -> Iterator[tuple[Tensor, ...]]:
    """Samples to try in turn: random ones in the example's own range, then the example's own in another order.

    Args:
        example: flat tensors `[N, ...]`.
        rows: how many samples.
        vocabularies: for each input the number of rows of the table that it indexes, None where it indexes none.
    """
    sizes = [*vocabularies, *[None] * (len(example) - len(vocabularies))]
    generator = torch.Generator().manual_seed(rows)
    yield tuple(_drawn(x, rows, size, generator).to(x.device) for x, size in zip(example, sizes, strict=True))
    yield tuple(x.roll(1, 0)[torch.arange(rows) % x.shape[0]] for x in example)


def first_admitted(
    run: Callable[[tuple[Tensor, ...]], T], tries: Iterator[tuple[Tensor, ...]], refused: list[Exception] | None = None
) -> T | None:
    """What a model gives for the first samples that it admits, None where it admits none; `refused` says why not."""
    for inputs in tries:
        try:
            return run(inputs)
        except Exception as error:  # noqa: BLE001 - a model may refuse values in any words
            if refused is not None:
                refused.append(error)
    return None


def _drawn(value: Tensor, rows: int, vocabulary: int | None, generator: torch.Generator) -> Tensor:
    """Uniform between the smallest and the largest of the example; an example of one value tells no range.

    Real numbers then lie in [0, 1), ids in their vocabulary, and other integers stay as they are: they may be a mask.
    """
    shape = (rows, *value.shape[1:])
    if value.dtype.is_complex:
        return torch.randn(shape, generator=generator, dtype=value.dtype)
    finite = value.double()[value.double().isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)
    if value.dtype.is_floating_point:
        low, high = (low, high) if low < high else (0.0, 1.0)
        drawn = torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low
        return drawn.to(value.dtype)
    if low == high and vocabulary:
        low, high = 0, vocabulary - 1
    return torch.randint(int(low), int(high) + 1, shape, generator=generator).to(value.dtype)


def generator_states() -> tuple[Any, ...]:
    """States of the generators that a forward may draw from."""
    kind, keys, *place = np.random.get_state()
    return random.getstate(), kind, np.asarray(keys).tobytes(), tuple(place), torch.get_rng_state().numpy().tobytes()
