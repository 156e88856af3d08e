"""The one topological order whose prefixes become cuts where several tensors may cross: it passes through the hull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from advisor.cutting.hull import Division, hull
from advisor.preserve import left_as_found, plain_attention

if TYPE_CHECKING:
    from torch import fx

    from advisor.graph import PartitionGraph


def order_through_hull(graph: PartitionGraph) -> tuple[fx.Node, ...]:
    """`graph.data_nodes` so that each corner of the hull of bytes against edge work is a prefix.

    Between corners operations keep the order in which they run.
    """
    nodes = graph.data_nodes
    rank: dict[int, int] = {}
    for corner, inside in enumerate(hull(division_of(graph))):
        for number in inside:
            rank.setdefault(number, corner)
    return tuple(nodes[number] for number in sorted(range(len(nodes)), key=lambda number: (rank[number], number)))


def division_of(graph: PartitionGraph) -> Division:
    """The graph as numbers: bytes of what may cross, and work, for one sample each."""
    nodes, work = graph.data_nodes, node_work(graph)
    number = {node: i for i, node in enumerate(nodes)}
    return Division(
        users=[[number[user] for user in node.users if user in number] for node in nodes],
        returned=frozenset(number[r] for r in graph.returned),
        sizes=[spec.bytes if (spec := graph.sendable(node)) else None for node in nodes],
        work=[work.get(node, 0) for node in nodes],
        inputs=sum(node.op == "placeholder" for node in nodes),
    )


def node_work(graph: PartitionGraph) -> dict[fx.Node, int]:
    """Floating-point operations (torch's own counter) and bytes written by each operation, for the example's batch.

    They are simply added: no operation is free, and arithmetic dominates where there is any.
    """
    counter, work = FlopCounterMode(display=False), {}
    before = 0

    def at_node(node: fx.Node, value: Any) -> None:
        nonlocal before
        total = counter.get_total_flops()
        if node.op == "call_function":
            work[node] = total - before + int(graph.value_bytes(node) * graph.batch) + 1
        before = total

    with left_as_found(graph.module), plain_attention(), torch.no_grad(), counter:
        graph.run(graph.example_inputs, at_node)
    return work
