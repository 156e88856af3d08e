"""The one topological order whose prefixes become cuts where several tensors may cross: it passes through the hull."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from advisor.cuts import TensorSpec
from advisor.cutting.hull import Division, hull
from advisor.operations.flat_model import FlatModel
from advisor.support.preserve import left_as_found, plain_attention

Sendable = Callable[[fx.Node], TensorSpec | None]


def order_through_hull(model: FlatModel, returned: Sequence[fx.Node], sendable: Sendable) -> tuple[fx.Node, ...]:
    """`model.data_nodes` so that each corner of the hull of bytes against edge work is a prefix.

    Between corners operations keep the order in which they run.
    """
    nodes = model.data_nodes
    rank: dict[int, int] = {}
    for corner, inside in enumerate(hull(division_of(model, returned, sendable))):
        for number in inside:
            rank.setdefault(number, corner)
    return tuple(nodes[number] for number in sorted(range(len(nodes)), key=lambda number: (rank[number], number)))


def division_of(model: FlatModel, returned: Sequence[fx.Node], sendable: Sendable) -> Division:
    """The graph as numbers: bytes of what may be sent, and work, for one sample each."""
    nodes, work = model.data_nodes, node_work(model)
    number = {node: i for i, node in enumerate(nodes)}
    return Division(
        users=[[number[user] for user in node.users if user in number] for node in nodes],
        returned=frozenset(number[r] for r in returned),
        sizes=[spec.bytes if (spec := sendable(node)) else None for node in nodes],
        work=[work.get(node, 0) for node in nodes],
        inputs=sum(node.op == "placeholder" for node in nodes),
    )


def node_work(model: FlatModel) -> dict[fx.Node, int]:
    """Floating-point operations (torch's own counter) and bytes written by each operation, for the example's batch.

    They are simply added: no operation is free, and arithmetic dominates where there is any.
    """
    counter, work = FlopCounterMode(display=False), {}
    before = 0

    def at_node(node: fx.Node, value: Any) -> None:
        nonlocal before
        total = counter.get_total_flops()
        if node.op == "call_function":
            work[node] = total - before + int(model.value_bytes(node) * model.batch) + 1
        before = total

    with left_as_found(model.module), plain_attention(), torch.no_grad(), counter:
        model.run(model.example_inputs, at_node)
    return work
