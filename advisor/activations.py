"""Activations at each cut for fixed samples, kept while memory allows: many questions share one forward pass."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from advisor.batches import carried
from advisor.cuts import Cut
from advisor.graph import PartitionGraph
from advisor.support import memory_limit

CACHE_BYTES = 256 * 2**20
CACHED = 8
"""Part of the memory that the activations of one set of samples may take."""

SETS = 3


class Activations:
    """The activations at each cut for fixed samples; the least recently used goes first.

    A cut is reached from the deepest kept one before it: going down the model in order costs one forward pass in all.
    """

    def __init__(self, graph: PartitionGraph, inputs: tuple[Tensor, ...], limit: int | None = None) -> None:
        self._graph, self._inputs, self._limit = graph, inputs, limit
        self._kept: OrderedDict[int, tuple[Tensor, ...]] = OrderedDict()

    def at(self, cut: Cut) -> tuple[Tensor, ...]:
        """Undefended tensors, each `[N, ...]`."""
        if cut.index not in self._kept:
            start = max((index for index in self._kept if index < cut.index), default=0)
            self._kept[cut.index] = carried(self._graph, self._kept.get(start, self._inputs), start, cut.index)
        self._kept.move_to_end(cut.index)
        limit = memory_limit.left_for(CACHE_BYTES if self._limit is None else self._limit, CACHED)
        while len(self._kept) > 1 and sum(t.nbytes for z in self._kept.values() for t in z) > limit:
            self._kept.popitem(last=False)
        return self._kept[cut.index]


class ActivationCache:
    """Activations of the sets of samples that were last asked for, told apart by their content.

    Args:
        graph: the traced model.
        limit: bytes that are kept of each set.
    """

    def __init__(self, graph: PartitionGraph, limit: int | None = None) -> None:
        self.graph, self._limit = graph, limit
        self._sets: OrderedDict[bytes, Activations] = OrderedDict()

    def at(self, cut: Cut, inputs: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """Undefended tensors, each `[N, ...]`; None where they are too large to be kept."""
        limit = memory_limit.left_for(CACHE_BYTES if self._limit is None else self._limit, CACHED)
        if len(inputs[0]) * cut.bytes > limit:
            return None
        key = b"".join(hashlib.blake2b(t.contiguous().view(torch.uint8).numpy().data).digest() for t in inputs)
        found = self._sets.setdefault(key, Activations(self.graph, tuple(inputs), limit))
        self._sets.move_to_end(key)
        while len(self._sets) > SETS:
            self._sets.popitem(last=False)
        return found.at(cut)

    def clear(self) -> None:
        """Let go of all of them."""
        self._sets.clear()
