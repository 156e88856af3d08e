"""Parts of a graph over many samples, a few at a time: fewer where memory is short, and fewer still where it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from advisor.computing.chosen_device import CPU, current
from advisor.computing.moves import there
from advisor.errors import AdvisorError, DataError
from advisor.graph import PartitionGraph
from advisor.support import memory_limit
from advisor.support.preserve import left_as_found, plain_attention

BATCH = 32
"""Samples at once on a processor, where they are small: more only move memory."""

IN_CACHE = 16 * 2**20
"""Bytes that the largest tensor of a batch may take on a processor: a larger one leaves the caches, and above 32 MiB
glibc takes new pages from the system each time. EfficientNet-lite0 at 224×224 spends 0.5 ms of system time an image at
2 images at once, 20 at 16, 44 at 32."""

GPU_BATCH = 256
"""On a GPU, which smaller ones leave idle."""

HELD = 16
"""Part of the memory that the largest tensor of a batch may take: operations hold several of its size."""


def batch_size(graph: PartitionGraph) -> int:
    """Samples at once: as many as run well, and fewer where the memory of the run is small for the model."""
    largest = max((graph.value_bytes(node) for node in graph.data_nodes), default=1) or 1
    usual = min(BATCH, int(IN_CACHE / largest)) if current().type == CPU else GPU_BATCH
    return max(1, min(usual, int(memory_limit.limit() / (HELD * largest))))


def carried(graph: PartitionGraph, tensors: Sequence[Tensor], start: int, stop: int) -> tuple[Tensor, ...]:
    """The activation at cut `stop`, each `[n, ...]`, given the activation at cut `start` (0: the flat inputs)."""
    if start == stop:
        return tuple(tensors)
    with left_as_found():
        return gathered(in_parts(there(graph).piece(stop, start), tensors, batch_size(graph)), len(tensors[0]))


def gathered(parts: Iterable[tuple[Tensor, ...]], rows: int) -> tuple[Tensor, ...]:
    """Parts `[b, ...]` of each tensor as one, `[rows, ...]`, filled in as they come: never held twice.

    Raises:
        DataError: where they have more rows than samples.
    """
    room: list[Tensor] = []
    filled = 0
    for part in parts:
        check_rows(part, rows - filled)
        room = room or [piece.new_empty((rows, *piece.shape[1:])) for piece in part]
        for whole, piece in zip(room, part, strict=True):
            whole[filled : filled + len(piece)] = piece
        filled += len(part[0])
    return tuple(room)


def check_rows(part: Sequence[Tensor], left: int) -> None:
    """Refuse what cannot have one row for each of at most so many samples.

    Raises:
        DataError: for numbers of the whole batch, and samples laid side by side.
    """
    if wrong := [tuple(t.shape) for t in part if t.dim() == 0 or len(t) > left]:
        raise DataError(
            f"What this model returns, of shape {wrong[0]}, has no row for each sample.", "Return it as [N, ...]."
        )


def first_scores(graph: PartitionGraph, tensors: Sequence[Tensor], start: int = 0) -> Tensor | None:
    """The model's answer `[n, ...]` from the activation at cut `start`; None where no floating-point number comes out.

    It is the output that the graph's task names, else the first floating-point one.
    """
    parts = []
    with left_as_found():
        for outputs in in_parts(there(graph).piece(len(graph.cuts) - 1, start), tensors, batch_size(graph)):
            if graph.task is not None:
                outputs = outputs[graph.task.position : graph.task.position + 1]
            floats = [t for t in outputs if t.dtype.is_floating_point and t.dim()]
            if not floats:
                return None
            parts.append(floats[0].float())
    return torch.cat(parts)


def in_parts(module: Callable[..., Any], tensors: Sequence[Tensor], size: int) -> Iterator[tuple[Tensor, ...]]:
    """What a module makes of samples `[n, ...]`, so many at a time; half as many from where memory ends, which is said.

    Raises:
        AdvisorError: where it ends for a single sample.
    """
    first, rows = 0, len(tensors[0])
    while first < rows:
        try:
            part = _run(module, [t[first : first + size] for t in tensors])
        except (MemoryError, RuntimeError) as error:
            if not memory_limit.is_lack(error):
                raise
            if size == 1:
                raise AdvisorError(
                    "Memory ends at a single sample of this model.",
                    "Use a machine with more memory, or smaller inputs.",
                ) from None
            size = size // 2
            memory_limit.say(f"Memory ran out: samples were then taken {size} at a time.")
            continue
        yield part
        first += size


def _run(module: Callable[..., Any], batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """On the compute device; what comes out lies where the samples do."""
    home, device = batch[0].device, current()
    with plain_attention(), torch.no_grad():
        leaves = pytree.tree_leaves(module(*(t.to(device) for t in batch)))
        return tuple(t.to(home) for t in leaves if isinstance(t, Tensor))
