"""Operators one by one: their kind, their work, and their shape, as a calibration measures and predicts them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.profilers.features import item_size

if TYPE_CHECKING:
    from torch import fx

    from advisor.graph import PartitionGraph

KINDS = (
    "conv", "depthwise", "grouped", "linear", "attention", "norm", "layer_norm", "pass", "hardswish", "gelu", "silu",
    "sigmoid", "add", "cat", "max_pool", "avg_pool", "reduce", "copy", "view",
)  # fmt: skip
"""What is timed apart: convolutions by their groups, matrix products, normalisations, elementwise ones that merely pass
over the data, curves by their cost, operations on two tensors, windows, means, copies in another order, and views,
which cost their call alone."""

_BY_NAME = (
    ("hardtanh", "pass"), ("expand", "pass"), ("scaled_dot_product_attention", "attention"), ("conv", "conv"),
    ("linear", "linear"), ("addmm", "linear"),
    ("layer_norm", "layer_norm"), ("group_norm", "layer_norm"), ("rms_norm", "layer_norm"), ("batch_norm", "norm"),
    ("adaptive", "reduce"), ("max_pool", "max_pool"), ("avg_pool", "avg_pool"), ("mean", "reduce"), ("sum", "reduce"),
    ("cat", "cat"), ("stack", "cat"), ("gelu", "gelu"), ("silu", "silu"), ("hardsigmoid", "hardswish"),
    ("hardswish", "hardswish"), ("sigmoid", "sigmoid"), ("softmax", "sigmoid"), ("tanh", "sigmoid"), ("exp", "sigmoid"),
    ("erf", "gelu"), ("mish", "silu"), ("add", "add"), ("mul", "add"), ("sub", "add"), ("div", "add"),
    ("matmul", "attention"), ("bmm", "attention"), ("contiguous", "copy"), ("clone", "copy"), ("reshape", "copy"),
    ("transpose", "view"),
)  # fmt: skip


@dataclass(frozen=True)
class Operator:
    """One operator for one sample.

    Attributes:
        kind: one of `KINDS`.
        macs: multiply-adds.
        read, written: activation elements.
        weights: parameter elements.
        channels: that one multiply-add chain runs over: input channels a group, or features.
        kernel: positions of a window.
    """

    kind: str
    macs: float
    read: float
    written: float
    weights: float
    channels: float = 1.0
    kernel: float = 1.0

    def row(self, item_size: int = 4) -> tuple[float, float, float]:
        """One call, multiply-adds, and bytes moved: factors of the roofline's parameters."""
        return 1.0, self.macs, item_size * (self.read + self.written + self.weights)

    def point(self) -> tuple[float, ...]:
        """Where it lies among others of its kind: logarithms, about one apart for neighbours."""
        sizes = (self.macs, self.read, self.written, self.weights, self.channels, self.kernel)
        return tuple(0.5 * math.log(1.0 + size) for size in sizes)


def operators(graph: PartitionGraph, index: int) -> list[Operator]:
    """The operators between cut `index - 1` and cut `index`; asking for a size costs what a view does."""
    return [operator(graph, node) for node in graph.piece_nodes(index) if "aten" in str(node.target)]


def operator(graph: PartitionGraph, node: fx.Node) -> Operator:
    """Kind and work of one node."""
    if graph.value_bytes(node) == 0:
        return Operator("view", 0.0, 0.0, 0.0, 0.0)
    written = graph.value_bytes(node) / item_size(node)
    held = [graph.constant(source) for source in node.all_input_nodes if source.op == "get_attr"]
    read = sum(_elements(graph, source) for source in node.all_input_nodes if source.op != "get_attr")
    weights = float(sum(tensor.numel() for tensor in held))
    shapes = [tuple(tensor.shape) for tensor in held]
    return described(str(node.target), shapes, _shapes(graph, node), read, written, weights, _groups(node))


def described(
    name: str,
    held: Sequence[Sequence[int]],
    given: Sequence[Sequence[int]],
    read: float,
    written: float,
    weights: float,
    groups: int = 1,
) -> Operator:
    """An operator from its name and shapes.

    Args:
        name: as torch names it, such as "aten.conv2d.default".
        held: shapes of its parameters, the matrix or kernel first.
        given: shapes of its activations, without the batch.
        read, written, weights: elements.
        groups: of a convolution.
    """
    kind = next((kind for part, kind in _BY_NAME if part in name), "pass")
    if kind == "conv" and held:
        channels, window = held[0][1], math.prod(held[0][2:])
        kind = "conv" if groups == 1 else "depthwise" if channels == 1 else "grouped"
        return Operator(kind, written * channels * window, read, written, weights, channels, window)
    if kind == "linear" and held:
        features = held[0][-1]
        return Operator(kind, written * features, read, written, weights, features)
    if kind == "attention" and len(given) > 1:
        inner, keys = given[0][-1], given[1][-2] if len(given[1]) > 1 else 1
        twice = 2.0 if len(given) > 2 else 1.0
        return Operator(kind, twice * math.prod(given[0]) * keys, read, written, weights, inner)
    if kind == "view":
        return Operator(kind, 0.0, 0.0, 0.0, 0.0)
    return Operator(kind if kind not in ("conv", "linear", "attention") else "add", 0.0, read, written, weights)


def _groups(node: fx.Node) -> int:
    found = node.args[6] if "conv" in str(node.target) and len(node.args) > 6 else 1
    return found if isinstance(found, int) else 1


def _elements(graph: PartitionGraph, node: fx.Node) -> float:
    spec = graph.spec(node, strict=False)
    return 0.0 if spec is None else float(math.prod(spec.shape))


def _shapes(graph: PartitionGraph, node: fx.Node) -> list[tuple[int, ...]]:
    from torch import fx

    given = [source for source in node.args if isinstance(source, fx.Node) and source.op != "get_attr"]
    specs = [graph.spec(source, strict=False) for source in given]
    return [tuple(spec.shape) for spec in specs if spec is not None]
