"""What a cut forgets exactly, a sign or an order: errors of a reconstruction do not see what crosses apart from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from advisor.activations import Activations
from advisor.cuts import Cut
from advisor.graph import PartitionGraph
from advisor.measures.flat_rows import real

TRIED_ON = 4
"""Samples."""

TOLERANCE = 1e-4
"""Of the largest number that crosses: closer activations are the same."""

FEWEST_PLACES = 3
"""Of an axis whose order is tried."""

Change = Callable[[Tensor], Tensor]


def said_forgotten(graph: PartitionGraph, inputs: Sequence[Tensor], seed: int = 0) -> str:
    """A sentence for what the model forgets of an input, and from which cut on; "" where that is nothing.

    Args:
        graph: the traced model.
        inputs: flat samples, each `[N, ...]`; the first tensor of floating-point numbers is changed.
        seed: of the order that is tried.
    """
    few = tuple(t[:TRIED_ON] for t in inputs)
    which = next((i for i, t in enumerate(few) if t.is_floating_point()), None)
    if which is None or len(few[0]) < 2:
        return ""
    as_given = Activations(graph, few)
    found = []
    for name, change in _changes(few[which], seed):
        changed = Activations(graph, (*few[:which], change(few[which]), *few[which + 1 :]))
        if (cut := _first_alike(graph.cuts, as_given, changed)) is not None:
            found.append(f"{name} from {cut.name} on")
    if not found:
        return ""
    return (
        f"The model forgets {' and '.join(found)}: an error such as NMSE does not see what crosses apart from that "
        "(magnitudes of a spectrum hold the words). Do not take a high score there for privacy."
    )


def _changes(x: Tensor, seed: int) -> Iterator[tuple[str, Change]]:
    """By its name what is tried on the samples."""
    yield "the sign of the input", torch.neg
    draw = torch.Generator().manual_seed(seed)
    for axis in range(1, x.dim()):
        if x.shape[axis] >= FEWEST_PLACES:
            order = torch.randperm(x.shape[axis], generator=draw).to(x.device)
            yield f"the order along dimension {axis} of the input", lambda t, a=axis, o=order: t.index_select(a, o)  # type: ignore[misc]


def _first_alike(cuts: Sequence[Cut], one: Activations, other: Activations) -> Cut | None:
    """The first cut at which both are the same although samples differ; what is the same there stays so after it."""
    if not _alike(one.at(cuts[-1]), other.at(cuts[-1])):
        return None
    low, high = 0, len(cuts) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _alike(one.at(cuts[middle]), other.at(cuts[middle])) else (middle + 1, high)
    return cuts[low] if low > 0 and not _constant(one.at(cuts[low])) else None


def _alike(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(
        a.shape == b.shape and float((a - b).abs().max()) <= TOLERANCE * float(a.abs().max())
        for a, b in zip(map(real, one), map(real, other), strict=True)
    )


def _constant(tensors: Sequence[Tensor]) -> bool:
    """Whether every sample gives the same."""
    return all(_alike((t,), (t[:1].expand_as(t),)) for t in tensors)
