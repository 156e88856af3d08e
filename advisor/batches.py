"""Parts of a graph over many samples, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from advisor.graph import PartitionGraph
from advisor.preserve import left_as_found, plain_attention

BATCH = 32
"""More samples at once only move memory: 224×224 images run fastest at 8 to 16, 32×32 ones at 64."""


def carried(graph: PartitionGraph, tensors: Sequence[Tensor], start: int, stop: int) -> tuple[Tensor, ...]:
    """The activation at cut `stop`, each `[n, ...]`, given the activation at cut `start` (0: the flat inputs)."""
    if start == stop:
        return tuple(tensors)
    parts = list(_batched(graph.piece(stop, start), tensors))
    return tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))


def first_scores(graph: PartitionGraph, tensors: Sequence[Tensor], start: int = 0) -> Tensor | None:
    """The model's answer `[n, ...]` from the activation at cut `start`; None where no floating-point number comes out.

    It is the output that the graph's task names, else the first floating-point one.
    """
    parts = []
    for outputs in _batched(graph.piece(len(graph.cuts) - 1, start), tensors):
        if graph.task is not None:
            outputs = outputs[graph.task.position : graph.task.position + 1]
        floats = [t for t in outputs if t.dtype.is_floating_point and t.dim()]
        if not floats:
            return None
        parts.append(floats[0].float())
    return torch.cat(parts)


def _batched(module: Callable[..., Any], tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    parts = []
    with left_as_found(), plain_attention(), torch.no_grad():
        for batch in zip(*(torch.split(t, BATCH) for t in tensors), strict=True):
            leaves = pytree.tree_leaves(module(*batch))
            parts.append(tuple(t for t in leaves if isinstance(t, Tensor)))
    return parts
