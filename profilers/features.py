"""What a part of a model asks of a machine: kernels, multiply-adds, numbers read and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import fx

    from advisor.graph import PartitionGraph

ITEM_SIZE = {"fp32": 4, "fp16": 2, "int8": 1}
FUSED_SHARE = 0.4
"""Share of activation traffic that fusing leaves: the left-out error is least, and flat, from 0.2 to 0.4."""


@dataclass(frozen=True)
class Work:
    """Work for one sample; adds up over parts.

    Attributes:
        ops: kernels an unfused runtime launches (operations that write a new tensor).
        macs: multiply-adds, as counted by fvcore.
        weights: parameter elements read, once per use.
        activations: elements that operations write.
    """

    ops: float = 0.0
    macs: float = 0.0
    weights: float = 0.0
    activations: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.ops + other.ops,
            self.macs + other.macs,
            self.weights + other.weights,
            self.activations + other.activations,
        )

    def traffic(self, item_size: int, fused: bool, batch: int = 1) -> float:
        """Bytes through memory: weights once a batch, activations written and read once."""
        share = FUSED_SHARE if fused else 1.0
        return item_size * (self.weights + batch * 2 * share * self.activations)


def piece_work(graph: PartitionGraph, macs: Sequence[float]) -> tuple[Work, ...]:
    """Work between neighbouring cuts, one entry a cut; the first is nothing (the raw input).

    Args:
        graph: the traced model.
        macs: multiply-adds of each piece for one sample, as `macs.count(graph).pieces`.
    """
    return tuple(
        Work() if i == 0 else _node_work(graph, graph.piece_nodes(i)) + Work(macs=macs[i])
        for i in range(len(graph.cuts))
    )


def edge_work(pieces: Sequence[Work]) -> tuple[Work, ...]:
    """Work of the edge half at each cut."""
    return tuple(accumulate(pieces))


def cloud_work(pieces: Sequence[Work]) -> tuple[Work, ...]:
    """Work of the cloud half at each cut."""
    suffix = tuple(accumulate((Work(), *reversed(pieces[1:]))))
    return tuple(reversed(suffix))


def _node_work(graph: PartitionGraph, nodes: Sequence[fx.Node]) -> Work:
    total = Work()
    for node in nodes:
        size = graph.value_bytes(node)
        written = size / _item_size(node) if size else 0.0
        read = sum(graph.constant(source).numel() for source in node.all_input_nodes if source.op == "get_attr")
        total += Work(ops=float(size > 0), weights=float(read), activations=written)
    return total


def _item_size(node: fx.Node) -> int:
    from torch import Tensor
    from torch.utils import _pytree as pytree

    sizes = [leaf.element_size() for leaf in pytree.tree_leaves(node.meta["val"]) if isinstance(leaf, Tensor)]
    return int(sizes[0])
