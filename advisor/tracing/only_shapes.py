"""Operations that read of a tensor only its shape or type, without that tensor: it need not cross a cut for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from advisor.operations.symbols import emit, expression

aten = torch.ops.aten
_FACTORIES = {
    aten.new_zeros.default: 0,
    aten.zeros_like.default: 0,
    aten.new_empty.default: 0,
    aten.empty_like.default: 0,
    aten.new_ones.default: 1,
    aten.ones_like.default: 1,
    aten.new_full.default: None,  # the fill value follows the size
    aten.full_like.default: None,
}
_TYPED = {aten.type_as.default, aten.to.other}
_SHAPED = {
    aten.expand_as.default: aten.expand.default,
    aten.view_as.default: aten.view.default,
    aten.reshape_as.default: aten.reshape.default,
}


def free_of_models(graph: fx.Graph) -> None:
    """`new_zeros(x, …)`, `type_as(y, x)` and `view_as(y, x)` state the size and type that they took from x."""
    tensors = (n for n in graph.nodes if n.op == "placeholder" and isinstance(n.meta.get("val"), Tensor))
    batch = next(tensors, None)
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if batch is None or not isinstance(value, Tensor):
            continue
        with graph.inserting_before(node):
            free = _stated(graph, batch, node, value)
        if free is not None:
            free.meta = dict(node.meta)
            node.replace_all_uses_with(free)
            graph.erase_node(node)


def _stated(graph: fx.Graph, batch: fx.Node, node: fx.Node, value: Tensor) -> fx.Node | None:
    """The same operation with size and type said; None where it is another one."""
    if node.target in _FACTORIES:
        known = _FACTORIES[node.target]
        fill: Any = node.args[-1] if known is None else known
        if isinstance(fill, fx.Node):
            return None
        kind: dict[str, Any] = {"dtype": value.dtype, "device": value.device}
        return graph.call_function(aten.full.default, (_sizes(graph, batch, value), fill), kind)
    if node.target in _TYPED:
        return graph.call_function(aten.to.dtype, (node.args[0], value.dtype, *node.args[2:]), dict(node.kwargs))
    if node.target in _SHAPED:
        return graph.call_function(_SHAPED[node.target], (node.args[0], _sizes(graph, batch, value)))
    return None


def _sizes(graph: fx.Graph, batch: fx.Node, value: Tensor) -> list[Any]:
    return [_size(graph, batch, size) for size in value.shape]


def _size(graph: fx.Graph, batch: fx.Node, size: Any) -> Any:
    if isinstance(size, int):
        return size
    rows = graph.call_function(aten.sym_size.int, (batch, 0))
    rows.meta["val"] = batch.meta["val"].shape[0]
    node = emit(graph, expression(size), rows)
    if isinstance(node, fx.Node):
        node.meta.setdefault("val", size)
    return node
