"""What a part of a model asks of a machine: kernels, multiply-adds, numbers read and written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
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
        macs: multiply-adds, from the shapes of the operations.
        weights: parameter elements read, once per use.
        activations: elements that operations write.
        depthwise, grouped, attention: how many of the operations are convolutions of one channel a group, convolutions
            of several, or scaled dot-product attention.
        pointwise: multiply-adds of dense 1×1 convolutions.
    """

    ops: float = 0.0
    macs: float = 0.0
    weights: float = 0.0
    activations: float = 0.0
    depthwise: float = 0.0
    grouped: float = 0.0
    attention: float = 0.0
    pointwise: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def traffic(self, item_size: int, fused: bool, batch: int = 1) -> float:
        """Bytes through memory: weights once a batch, activations written and read once."""
        share = FUSED_SHARE if fused else 1.0
        return item_size * (self.weights + batch * 2 * share * self.activations)


def piece_work(graph: PartitionGraph, macs: Sequence[float]) -> tuple[Work, ...]:
    """Work between neighbouring cuts, one entry a cut; the first is nothing (the raw input).

    Args:
        graph: the traced model.
        macs: multiply-adds of each piece for one sample, as `count(graph).pieces`.
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
        written = size / item_size(node) if size else 0.0
        held = [graph.constant(source) for source in node.all_input_nodes if source.op == "get_attr"]
        read = sum(value.numel() for value in held if hasattr(value, "numel"))  # a branch of torch.cond is a module
        total += Work(ops=float(size > 0), weights=float(read), activations=written) + _kind(graph, node, written)
    return total


def _kind(graph: PartitionGraph, node: fx.Node, written: float) -> Work:
    """Convolutions by their groups, and attention."""
    from torch.fx import Node

    name = str(node.target)
    if "scaled_dot_product_attention" in name:
        return Work(attention=1.0)
    if not any(text in name for text in ("conv1d", "conv2d", "conv3d")) or "transpose" in name:
        return Work()
    weight, groups = node.args[1], node.args[6] if len(node.args) > 6 else 1
    if not (isinstance(weight, Node) and weight.op == "get_attr" and isinstance(groups, int)):
        return Work()
    shape = graph.constant(weight).shape
    if groups > 1:
        return Work(depthwise=1.0) if shape[1] == 1 else Work(grouped=1.0)
    return Work(pointwise=written * shape[1]) if math.prod(shape[2:]) == 1 else Work()


def item_size(node: fx.Node) -> int:
    """Bytes of one element of what a node writes."""
    from torch import Tensor
    from torch.utils import _pytree as pytree

    sizes = [leaf.element_size() for leaf in pytree.tree_leaves(node.meta["val"]) if isinstance(leaf, Tensor)]
    return int(sizes[0])
