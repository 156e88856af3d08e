"""What is received of the same samples again and again: each time what is random on the way is drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from advisor.batches import BATCH
from advisor.estimators.attacks.support.channel import COMPACT_BYTES, Channel, Reduce, Store
from advisor.estimators.inversion.training import Anew
from advisor.support.preserve import plain_attention

FEWEST, MOST, PASSES = 4, 64, 1024
"""Draws of each sample that are kept where the cloud half runs on each of them: as many as make `PASSES` passes."""

SALT = 6_364_136_223_846_793_005


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of a set of samples whose undefended activation is kept: to add noise to it costs next to nothing.

    Where the attacker listens after the cloud's body, each draw costs a pass through that. A few draws of each sample
    are then made beforehand and taken in turn at random, unless what comes out of the body is too large to keep.

    Attributes:
        channel: edge half, defense and wire.
        clean: what the edge half computes before the defense, each `[n, ...]`.
        reduce: what the attacker makes of what it receives.
        seed: of all draws.
    """

    channel: Channel
    clean: Sequence[Tensor]
    reduce: Reduce
    seed: int

    def __len__(self) -> int:
        return len(self.clean[0])

    def at(self, rows: Tensor, number: int) -> tuple[Tensor, ...]:
        """What is received of the samples `rows` in the draw of that number, reduced, each `[len(rows), ...]`."""
        if self._pool is None:
            return self._drawn(rows, number)
        draws = len(self._pool[0]) // len(self)
        which = torch.randint(draws, (len(rows),), generator=self._generator(number))
        return tuple(kept[which * len(self) + rows].float() for kept in self._pool)

    @cached_property
    def _pool(self) -> tuple[Tensor, ...] | None:
        """Some draws of all samples, one after the other; None where none need be kept, or they are too large."""
        if self.channel.beyond is None:
            return None
        everything = torch.arange(len(self))
        draws = max(FEWEST, min(MOST, PASSES // len(self)))
        sizes = [t[0].numel() * t.element_size() for t in self._drawn(everything[:1], 0)]
        if draws * len(self) * sum(sizes) > COMPACT_BYTES:
            return None
        store = Store(draws * len(self))
        for draw in range(draws):
            for number, rows in enumerate(torch.split(everything, BATCH)):
                store.add(self._drawn(rows, -1 - draw * len(self) - number))
        return store.tensors()

    def _drawn(self, rows: Tensor, number: int) -> tuple[Tensor, ...]:
        generator = self._generator(number)
        with plain_attention(), torch.no_grad():
            dtypes = [getattr(torch, spec.dtype) for spec in self.channel.payload.cut.tensors]
            tensors = [t[rows].to(dtype) for t, dtype in zip(self.clean, dtypes, strict=True)]
            received = self.channel.averaged(tensors, generator)
            parts = zip(*(torch.split(t, BATCH) for t in received), strict=True)
            heard = [self.channel.carried_on(part) for part in parts]
            return self.reduce(tuple(torch.cat(pieces) for pieces in zip(*heard, strict=True)))

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * SALT + number) % 2**63)


def joined(sets: Sequence[Draws], starts: Sequence[int]) -> Anew | None:
    """Draws of several sets as one, each of which begins at a position of its own; None where nothing is random.

    Args:
        sets: of one channel; each reduces to one tensor.
        starts: position of the first sample of each, ascending.
    """
    if not all(len(draws.clean) for draws in sets):
        return None

    def at(index: Tensor, number: int) -> Tensor:
        whose = torch.bucketize(index, torch.tensor(starts[1:], dtype=index.dtype), right=True)
        found: Tensor | None = None
        for which, (draws, start) in enumerate(zip(sets, starts, strict=True)):
            mine = torch.nonzero(whose == which).flatten()
            if len(mine):
                (drawn,) = draws.at(index[mine] - start, number)
                found = drawn.new_empty(len(index), *drawn.shape[1:]) if found is None else found
                found[mine] = drawn
        assert found is not None
        return found

    return at
