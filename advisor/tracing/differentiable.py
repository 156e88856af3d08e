"""Operations that torch cannot differentiate, rewritten as others that compute the same bits and have a derivative.

Writes in place become `copy`, `zero`, `slice_scatter` and `select_scatter`. torch has no derivative of the first, and
none of the others for complex numbers, so an attack through the halves would fail where the model itself would not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
_SCATTERS = (aten.slice_scatter.default, aten.select_scatter.default)


def make_differentiable(graph: fx.Graph) -> None:
    """Rewrite in place every copy, and complex zeroing and scattering."""
    for node in list(graph.nodes):
        if node.target is aten.copy.default:
            _clone_of_source(graph, node)
        elif node.target is aten.zero.default and _is_complex(node):
            node.target, node.args = aten.fill.Scalar, (node.args[0], 0)
        elif node.target in _SCATTERS and _is_complex(node):
            _scatter_of_real_parts(graph, node)


def _is_complex(node: fx.Node) -> bool:
    return isinstance(value := node.meta.get("val"), torch.Tensor) and value.dtype.is_complex


def _clone_of_source(graph: fx.Graph, node: fx.Node) -> None:
    """`copy(written, source)`: the source in the dtype, the shape and the memory order of what is written."""
    written, source = node.args[0], node.args[1]
    assert isinstance(written, fx.Node)
    assert isinstance(source, fx.Node)
    meant, given = written.meta["val"], source.meta["val"]
    with graph.inserting_before(node):
        if given.dtype != meant.dtype:
            source = _call(graph, node, aten.to.dtype, source, meant.dtype)
        if given.shape != meant.shape:
            source = _call(graph, node, aten.expand_as.default, source, written)
        order = _memory_order(meant)
        if order != sorted(order):
            source = _call(graph, node, aten.permute.default, source, order)
        source = _call(graph, node, aten.clone.default, source, memory_format=torch.contiguous_format)
        if order != sorted(order):
            source = _call(graph, node, aten.permute.default, source, [order.index(d) for d in range(len(order))])
    node.replace_all_uses_with(source)
    graph.erase_node(node)


def _memory_order(value: torch.Tensor) -> list[int]:
    """The dimensions from the outermost in memory to the innermost, without a guard on a symbolic batch."""
    strides = [stride if isinstance(stride, int) else stride.node.hint for stride in value.stride()]
    return sorted(range(value.dim()), key=lambda d: -strides[d])


def _scatter_of_real_parts(graph: fx.Graph, node: fx.Node) -> None:
    base, value, *place = node.args
    dimensions = node.meta["val"].dim()
    with graph.inserting_before(node):
        parts = [_real_parts(graph, node, part) for part in (base, value)]
        if place:
            place[0] = int(place[0]) % dimensions  # type: ignore[arg-type]  # the real view has one dimension more
        filled = _call(graph, node, node.target, *parts, *place, **node.kwargs)
        whole = _call(graph, node, aten.view_as_complex.default, filled)
    node.replace_all_uses_with(whole)
    graph.erase_node(node)


def _real_parts(graph: fx.Graph, place: fx.Node, source: Any) -> fx.Node:
    if source.meta["val"].is_conj():  # only noted, not computed: there is no real view of that
        source = _call(graph, place, aten.resolve_conj.default, source)
    return _call(graph, place, aten.view_as_real.default, source)


def _call(graph: fx.Graph, place: fx.Node, operator: Any, *args: Any, **kwargs: Any) -> fx.Node:
    """A node that stands for a part of `place` and knows its own value."""
    node = graph.call_function(operator, args, kwargs)
    known_args, known_kwargs = fx.map_arg((args, kwargs), lambda n: n.meta["val"])
    with torch.no_grad():
        node.meta = {**place.meta, "val": operator(*known_args, **known_kwargs)}
    return node
