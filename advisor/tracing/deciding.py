"""A yes or no over all samples that decides what a sample gives: random rows may all fall on one side of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from advisor.graph import PartitionGraph
from advisor.operations.dag import flat_results
from advisor.operations.symbols import symbols_of

Close = Callable[..., bool]


def deciding_operation(graph: PartitionGraph, inputs: Sequence[Tensor], close: Close) -> fx.Node | None:
    """The first truth value over all samples that changes a sample's result when it is turned round, or such a loop.

    Args:
        graph: the traced model.
        inputs: flat tensors `[N, ...]`.
        close: called as `close(found, expected)`.
    """
    if graph.fixed_batch is not None:
        return None
    values: dict[fx.Node, Any] = dict(zip(graph.placeholders, inputs, strict=True))
    found = [node for node in graph.data_nodes if _is_one_truth(node) or _loops_by(graph, node)]
    if not found:
        return None
    with torch.no_grad():
        for node in graph.schedule:
            values[node] = graph.evaluate(node, values, graph.batching(len(inputs[0])))
        return next((n for n in found if not _is_one_truth(n) or _decides(graph, n, values, close)), None)


def _is_one_truth(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype == torch.bool and not any(map(symbols_of, value.shape))


def _decides(graph: PartitionGraph, node: fx.Node, values: Mapping[fx.Node, Any], close: Close) -> bool:
    turned = {**values, node: ~values[node]}
    batching, after = graph.batching(len(values[graph.placeholders[0]])), {node}
    for later in graph.schedule:
        if any(source in after for source in later.all_input_nodes):
            after.add(later)
            turned[later] = graph.evaluate(later, turned, batching)
    led = [r for r in after.intersection(graph.results) if graph.axis_of(r.meta.get("val")) is not None]
    return not all(close(turned[result], values[result]) for result in led)


def _loops_by(graph: PartitionGraph, node: fx.Node) -> bool:
    """Whether a `while_loop` goes on for as long as something that is computed from the samples says."""
    if getattr(node.target, "__name__", "") != "while_loop":
        return False
    condition, body, carried, fixed = node.args
    read = [graph.is_data(n) for n in (*carried, *fixed)]  # type: ignore[misc]
    while True:
        told = _reached(_body(graph, body), read)
        more = [a or b for a, b in zip(read, [*told, *read[len(told) :]], strict=True)]
        if more == read:
            return any(_reached(_body(graph, condition), read))
        read = more


def _body(graph: PartitionGraph, node: Any) -> fx.Graph:
    held: Any = graph.constant(node)
    return held.graph  # type: ignore[no-any-return]


def _reached(body: fx.Graph, inputs: Sequence[bool]) -> list[bool]:
    """For each result of a body, whether it depends on one of those inputs that are marked."""
    given = [node for node in body.nodes if node.op == "placeholder"]
    reached = {node for node, marked in zip(given, inputs, strict=True) if marked}
    for node in body.nodes:
        if any(source in reached for source in node.all_input_nodes):
            reached.add(node)
    return [result in reached for result in flat_results(body)]
