"""A graph of whatever a function of the library was given: a graph, a module, a program or a file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from advisor.graph import PartitionGraph
from advisor.tracing.tracer import trace


def as_graph(model: Any, x: Any = None) -> PartitionGraph:
    """The graph itself, or the traced model.

    Args:
        model: a `PartitionGraph`, or what `advisor.trace` takes.
        x: samples `[N, ...]`, a tuple or dict of such, to trace a module with; None: its layers tell.

    Raises:
        AdvisorError: when it cannot be traced.
    """
    if isinstance(model, PartitionGraph):
        return model
    if not isinstance(model, nn.Module):
        return trace(model)
    return trace(model, None if x is None else _two(x))


def _two(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _two(value) for key, value in x.items()}
    if isinstance(x, tuple | list):
        return tuple(_two(value) for value in x)
    rows = x if isinstance(x, Tensor) else torch.as_tensor(x)
    return rows[:2]
