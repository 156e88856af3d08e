"""What the edge must hold, and send: parameters, bytes as sent, peak memory."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from advisor.columns import Column
from advisor.estimate import Estimate

if TYPE_CHECKING:
    from torch import fx

    from advisor.graph import PartitionGraph
    from advisor.profilers.support.context import ProfilingContext

SWAP_METHOD = "what of edge_memory the device's memory does not hold, were nothing else in it; 0 fits"
MEMORY_METHOD = "weights of the edge half plus its largest set of live activations, batch 1, no allocator overhead"


def columns(context: ProfilingContext) -> tuple[Column, Column, Column, Column]:
    """`params`, `bytes`, `edge_memory` and `edge_swap` at each cut."""
    graph = context.graph
    held = edge_memory(graph)
    return params(graph), crossing_bytes(graph), held, _swap(held, context)


def swapped(held: float, memory: float, name: str) -> Estimate:
    """Bytes of `held` beyond `memory`, both in bytes; NaN, with the reason as its method, where that is unknown."""
    if math.isnan(memory):
        return Estimate(math.nan, unit="B", source="estimated", method=f"the memory of {name} is unknown")
    return Estimate.exact(max(0.0, held - memory), "B", "estimated", SWAP_METHOD)


def _swap(held: Column, context: ProfilingContext) -> Column:
    found = [swapped(value, context.memory, context.device.key) for value in held.values]
    reasons = [e.method if math.isnan(e.value) else "" for e in found]
    return replace(Column.of_estimates("edge_swap", "low", found, reasons), method=SWAP_METHOD)


def params(graph: PartitionGraph) -> Column:
    """Parameters of the edge half (shared ones once; buffers are not parameters)."""
    from torch import nn

    values = [
        sum(t.numel() for t in graph.edge_parameters(i).values() if isinstance(t, nn.Parameter))
        for i in range(len(graph.cuts))
    ]
    return Column.of("params", "1", "low", values, "measured", method="counted; shared parameters once")


def crossing_bytes(graph: PartitionGraph) -> Column:
    """Bytes of the activation of one sample, in the dtype that crosses."""
    values = [cut.bytes for cut in graph.cuts]
    return Column.of(
        "bytes", "B", "low", values, "measured", method="of the activation of one sample, without a defense or a header"
    )


def edge_memory(graph: PartitionGraph) -> Column:
    """Peak bytes on the edge: parameters and buffers of the edge half, and live activations."""
    peaks = peak_activations(graph)
    weights = [
        sum(t.numel() * t.element_size() for t in graph.edge_parameters(i).values()) for i in range(len(graph.cuts))
    ]
    values = [w + p for w, p in zip(weights, peaks, strict=True)]
    return Column.of("edge_memory", "B", "low", values, "estimated", method=MEMORY_METHOD)


def peak_activations(graph: PartitionGraph) -> tuple[float, ...]:
    """Largest sum of live values, in bytes for one sample, while the edge half of each cut runs.

    A value is live from its operation until the last operation of the edge half that reads it or a view of it;
    the activation stays. Only the activations are alive at a cut, so that the peak of a half is the largest peak of
    its pieces.
    """
    from advisor.operations.symbols import is_symbolic

    sizes: dict[fx.Node, float] = {}
    roots: dict[fx.Node, frozenset[fx.Node]] = {}
    for node, spec in zip(graph.activation_nodes[0], graph.cuts[0].tensors, strict=True):
        sizes[node], roots[node] = float(spec.bytes), frozenset((node,))
    peaks = [sum(sizes.values())]
    for i in range(1, len(graph.cuts)):
        nodes = tuple(node for node in graph.piece_nodes(i) if not is_symbolic(node))
        for node in nodes:
            sizes[node] = graph.value_bytes(node)
            behind = frozenset().union(*(roots.get(source, frozenset()) for source in node.all_input_nodes))
            roots[node] = frozenset((node,)) if sizes[node] else behind
        peaks.append(
            max(peaks[-1], _piece_peak(nodes, graph.activation_nodes[i - 1], graph.activation_nodes[i], sizes, roots))
        )
    return tuple(peaks)


def _piece_peak(
    nodes: tuple[fx.Node, ...],
    entering: tuple[fx.Node, ...],
    leaving: tuple[fx.Node, ...],
    sizes: dict[fx.Node, float],
    roots: dict[fx.Node, frozenset[fx.Node]],
) -> float:
    last: dict[fx.Node, int] = {}
    for position, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last.update(dict.fromkeys(roots.get(source, ()), position))
    for node in leaving:
        last.update(dict.fromkeys(roots.get(node, ()), len(nodes)))
    live = {root for node in entering for root in roots[node]}
    held = peak = sum(sizes[root] for root in live)
    for position, node in enumerate(nodes):
        new = roots[node] - live
        held += sum(sizes[root] for root in new)
        live |= new
        peak = max(peak, held)
        ended = {root for root in live if last.get(root, -1) <= position}
        held -= sum(sizes[root] for root in ended)
        live -= ended
    return peak
