"""What a part of a model asks of a machine: kernels, multiply-adds, numbers read and written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import fx

    from advisor.graph import PartitionGraph

ITEM_SIZE = {"fp32": 4, "fp16": 2, "int8": 1}
RECURRENT = frozenset(f"aten.{kind}.input" for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu"))
FUSED_SHARE = 0.4
"""Share of activation traffic that fusing leaves: the left-out error is least, and flat, from 0.2 to 0.4."""


@dataclass(frozen=True)
class Work:
    """Work for one sample; adds up over parts.

    Attributes:
        ops: kernels an unfused runtime launches (operations that write a new tensor; of a recurrent layer one for each
            step, as each waits for the one before).
        macs: multiply-adds, from the shapes of the operations.
        weights: parameter elements read, once per use.
        activations: elements that operations write.
        depthwise, grouped, attention: how many of the operations are convolutions of one channel a group, convolutions
            of several, or scaled dot-product attention.
        pointwise: multiply-adds of dense 1×1 convolutions.
        winograd: multiply-adds of dense 3×3 convolutions of stride 1, which Winograd's algorithm shortens.
        thin: multiply-adds of depthwise and grouped convolutions.
        connected: of `weights`, those of fully connected layers: at batch 1 each is read from memory and used once.
        graphs: 1 in the first piece of a model: what starting it costs, however much follows.
    """

    ops: float = 0.0
    macs: float = 0.0
    weights: float = 0.0
    activations: float = 0.0
    depthwise: float = 0.0
    grouped: float = 0.0
    attention: float = 0.0
    pointwise: float = 0.0
    winograd: float = 0.0
    thin: float = 0.0
    connected: float = 0.0
    graphs: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def traffic(self, item_size: int, fused: bool, batch: int = 1) -> float:
        """Bytes through memory: weights once a batch, activations written and read once."""
        share = FUSED_SHARE if fused else 1.0
        return item_size * (self.weights + batch * 2 * share * self.activations)

    def demands(self, item_size: int, fused: bool, batch: int = 1) -> tuple[float, ...]:
        """What a machine has a rate for, in the order of `DEMANDS`."""
        connected = item_size * self.connected
        return (
            self.ops, batch * self.winograd, batch * (self.macs - self.winograd - self.thin), batch * self.thin,
            connected, self.traffic(item_size, fused, batch) - connected, self.graphs,
        )  # fmt: skip


DEMANDS = ("ops", "winograd", "dense", "thin", "connected", "traffic", "graphs")
"""Kernels, multiply-adds of three kinds, bytes of fully connected weights, other bytes, and the start of a graph."""


def piece_work(graph: PartitionGraph, macs: Sequence[float]) -> tuple[Work, ...]:
    """Work between neighbouring cuts, one entry a cut; the first is nothing (the raw input).

    Args:
        graph: the traced model.
        macs: multiply-adds of each piece for one sample, as `count(graph).pieces`.
    """
    pieces = [
        Work() if i == 0 else _node_work(graph, graph.piece_nodes(i)) + Work(macs=macs[i])
        for i in range(len(graph.cuts))
    ]
    first = next((i for i, piece in enumerate(pieces) if piece.ops), None)
    return tuple(piece + Work(graphs=1.0) if i == first else piece for i, piece in enumerate(pieces))


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
        ops = float(math.prod(recurrent_steps(node)) or size > 0)
        total += Work(ops=ops, weights=float(read), activations=written) + _kind(graph, node, written)
    return total


def recurrent_steps(node: fx.Node) -> tuple[int, int]:
    """Steps in time, and layers times directions, of an LSTM, GRU or RNN over padded sequences; (0, 0) of others."""
    overload: Any = node.target
    if str(overload) not in RECURRENT:
        return 0, 0
    names = (argument.name for argument in overload._schema.arguments)
    given: dict[str, Any] = dict(zip(names, node.args, strict=False)) | node.kwargs
    steps = given["input"].meta["val"].shape[1 if given["batch_first"] else 0]
    return int(steps), given["num_layers"] * (2 if given["bidirectional"] else 1)


def _kind(graph: PartitionGraph, node: fx.Node, written: float) -> Work:
    """Convolutions by their groups and kernels, fully connected layers, and attention."""
    name = str(node.target)
    if "scaled_dot_product_attention" in name:
        return Work(attention=1.0)
    if "linear" in name or "addmm" in name:
        held = [graph.constant(source) for source in node.all_input_nodes if source.op == "get_attr"]
        return Work(connected=float(sum(value.numel() for value in held)))
    if not any(text in name for text in ("conv1d", "conv2d", "conv3d")) or "transpose" in name:
        return Work()
    return _convolution(graph, node, written)


def _convolution(graph: PartitionGraph, node: fx.Node, written: float) -> Work:
    from torch.fx import Node

    given = dict(enumerate(node.args))
    weight, groups = given[1], given.get(6, 1)
    if not (isinstance(weight, Node) and weight.op == "get_attr" and isinstance(groups, int)):
        return Work()
    shape = graph.constant(weight).shape
    macs = written * math.prod(shape[1:])
    if groups > 1:
        return Work(depthwise=1.0, thin=macs) if shape[1] == 1 else Work(grouped=1.0, thin=macs)
    if math.prod(shape[2:]) == 1:
        return Work(pointwise=macs)
    steps = {*_numbers(given.get(3, 1)), *_numbers(given.get(5, 1))}
    return Work(winograd=macs) if tuple(shape[2:]) == (3, 3) and steps == {1} else Work()


def _numbers(argument: object) -> tuple[object, ...]:
    return tuple(argument) if isinstance(argument, list | tuple) else (argument,)


def item_size(node: fx.Node) -> int:
    """Bytes of one element of what a node writes."""
    from torch import Tensor
    from torch.utils import _pytree as pytree

    sizes = [leaf.element_size() for leaf in pytree.tree_leaves(node.meta["val"]) if isinstance(leaf, Tensor)]
    return int(sizes[0])
