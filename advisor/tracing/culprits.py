"""Which operation it is: the first that draws, or the first whose rows depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from advisor.graph import PartitionGraph

Close = Callable[..., bool]


def drawing_operation(graph: PartitionGraph) -> fx.Node | None:
    """The first operation that draws random numbers which a result needs."""
    return next((node for node in graph.schedule if node in graph.alive and _draws(node)), None)


def _draws(node: fx.Node) -> bool:
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload) or torch.Tag.nondeterministic_seeded not in target.tags:
        return False
    given = {a.name: a.default_value for a in target._schema.arguments}
    given |= dict(zip([a.name for a in target._schema.arguments], node.args, strict=False)) | node.kwargs
    chance = next((given[name] for name in ("p", "dropout_p", "dropout") if name in given), 1.0)
    training = next((given[name] for name in ("train", "training") if name in given), True)
    return bool(chance) and bool(training)


def mixing_operation(
    graph: PartitionGraph, inputs: Sequence[Tensor], rows: Sequence[int], close: Close
) -> fx.Node | None:
    """The first operation that gives a row another value alone than among others, for what it reads being the same.

    Each operation gets the values of the whole batch, cut down to one row wherever the batch is a dimension of its own.
    So neither rounding that grows from operation to operation nor a tie that falls the other way counts.

    Args:
        graph: the traced model.
        inputs: flat tensors `[N, ...]`.
        rows: which of them are looked at.
        close: called as `close(found, expected, scale=)`.
    """
    whole: dict[fx.Node, Any] = {}
    with torch.no_grad():
        graph.run(inputs, whole.__setitem__, strict=False)
        if graph.fixed_batch is None:
            found = [_first_other(graph, inputs, i, whole, close) for i in rows]
        else:
            found = [_first_other_in_groups(graph, inputs, i, whole, close) for i in rows]
    order = {node: number for number, node in enumerate(graph.schedule)}
    return min((node for node in found if node is not None), key=order.__getitem__, default=None)


def _first_other(
    graph: PartitionGraph, inputs: Sequence[Tensor], row: int, whole: Mapping[fx.Node, Any], close: Close
) -> fx.Node | None:
    batching, looked_at = graph.batching(1), set(graph.data_nodes) - _places(graph)
    values: dict[fx.Node, Any] = {p: x[row : row + 1] for p, x in zip(graph.placeholders, inputs, strict=True)}
    for node in graph.schedule:
        values[node] = graph.evaluate(node, values, batching)
        if node not in looked_at:
            continue
        leaves, structure = pytree.tree_flatten(values[node])
        shapes = pytree.tree_leaves(node.meta.get("val"))
        for k, (alone, among, shape) in enumerate(zip(leaves, pytree.tree_leaves(whole[node]), shapes, strict=True)):
            axis = graph.axis_of(shape)
            if axis is None or not isinstance(alone, Tensor):
                continue
            expected = among.narrow(axis, row, 1)
            if not close(alone, expected, scale=among):
                return node
            leaves[k] = expected
        values[node] = pytree.tree_unflatten(leaves, structure)
    return None


def _places(graph: PartitionGraph) -> set[fx.Node]:
    """Integers that say where in the batch a row stands (`arange(n) * length + last`): they differ from row to row."""
    found: set[fx.Node] = set()
    for node in graph.schedule:
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or value.is_floating_point():
            continue
        counts = node not in graph.data_nodes and graph.axis_of(value) is not None
        if counts or any(source in found for source in node.all_input_nodes):
            found.add(node)
    return found


def _first_other_in_groups(
    graph: PartitionGraph, inputs: Sequence[Tensor], row: int, whole: Mapping[fx.Node, Any], close: Close
) -> fx.Node | None:
    """The same for a frozen batch, whose groups are full of one sample; there values are compared as they come."""
    alone: dict[fx.Node, Any] = {}
    graph.run([x[row : row + 1] for x in inputs], alone.__setitem__, strict=False)
    led = [n for n in graph.data_nodes if graph.axis_of(n.meta.get("val")) == 0 and isinstance(alone.get(n), Tensor)]
    seen = [n for n in led if not close(alone[n], whole[n][row : row + 1], scale=whole[n])]
    return next((node for node in seen if node not in graph.mixed), next(iter(seen), None))
