"""Multiply-adds of each piece of a graph, read off the shapes of its operations; nothing is run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advisor.profilers.multiply_adds.closed_forms import COMPLEX, FORMS, Call
from advisor.profilers.multiply_adds.uncounted import UNCOUNTED

if TYPE_CHECKING:
    from torch import Tensor, fx

    from advisor.graph import PartitionGraph


@dataclass(frozen=True)
class MacCount:
    """Multiply-adds for one sample.

    Attributes:
        pieces: one entry a cut: between the cut before and this one; the first is 0.
        unsupported: operations nobody knows how to count -> how often they occur; the counts are then lower bounds.
    """

    pieces: tuple[float, ...]
    unsupported: dict[str, int]

    @property
    def total(self) -> float:
        """Of the whole model."""
        return math.fsum(self.pieces)

    @property
    def bound(self) -> str:
        """What makes the counts lower bounds, or ""."""
        listed = ", ".join(f"{name} ×{times}" for name, times in sorted(self.unsupported.items()))
        return f"a lower bound: nobody knows how to count {listed}" if listed else ""


def count(graph: PartitionGraph) -> MacCount:
    """Count every piece for one sample; work on weights alone is done once a call, and counts whole."""
    pieces, unsupported = [], Counter[str]()
    for index in range(len(graph.cuts)):
        total = 0.0
        for node in graph.piece_nodes(index) if index else ():
            macs = macs_of(graph, node)
            if macs is None:
                unsupported[_name(node)] += 1
            else:
                total += macs
        pieces.append(total)
    return MacCount(tuple(pieces), dict(unsupported))


def macs_of(graph: PartitionGraph, node: fx.Node) -> float | None:
    """Multiply-adds of one operation; None where nobody knows."""
    import torch

    name = _name(node)
    form = FORMS.get(name)
    if form is None:
        return 0.0 if name in UNCOUNTED or name.startswith("special_") or not _computes(node) else None
    shapes = _Shapes(graph)
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    result = next(v for v in torch.utils._pytree.tree_leaves(node.meta["val"]) if isinstance(v, torch.Tensor))
    call = Call({key: shapes.told(value) for key, value in given.items()}, shapes.of(result))
    times = COMPLEX if result.dtype.is_complex else 1
    rows = graph.fixed_batch or 1 if graph.is_data(node) else 1
    return times * float(form(call)) / rows


class _Shapes:
    """Arguments with a shape in place of each tensor, for one sample where the batch is free."""

    def __init__(self, graph: PartitionGraph) -> None:
        self._graph = graph

    def of(self, value: Tensor) -> tuple[int, ...]:
        return tuple(self._graph.size_of(size, 1) for size in value.shape)

    def told(self, value: Any) -> Any:
        import torch
        from torch import fx

        if isinstance(value, fx.Node):
            value = self._graph.constant(value) if value.op == "get_attr" else value.meta.get("val")
        if isinstance(value, torch.Tensor):
            return self.of(value)
        return [self.told(part) for part in value] if isinstance(value, list | tuple) else value


def _name(node: fx.Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).split("::")[-1] if schema else str(getattr(node.target, "__name__", node.target))


def _computes(node: fx.Node) -> bool:
    """Whether an operation may do more than touch each element once, or take a value apart."""
    import torch

    target: Any = node.target
    if isinstance(target, torch._ops.HigherOrderOperator):
        return True
    if not isinstance(target, torch._ops.OpOverload):
        return False
    views = any(r.alias_info is not None and not r.alias_info.is_write for r in target._schema.returns)
    return not (views or torch.Tag.pointwise in target.tags)
