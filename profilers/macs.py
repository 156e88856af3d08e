"""Multiply-adds of each piece, by fvcore (its only home here).

fvcore counts one fused multiply-add as one; convolutions, matrix products, attention, normalisation, average pooling
and resampling are counted, elementwise arithmetic is not (`IGNORED`), and what nobody knows is reported in
`unsupported`.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from advisor.columns import Column
from advisor.preserve import left_as_found

if TYPE_CHECKING:
    from torch import Tensor, nn

    from advisor.graph import PartitionGraph

METHOD = "counted by fvcore, one multiply-add is one; elementwise operations are not counted"

IGNORED = (
    "abs", "add", "add_", "alias", "amax", "amin", "argmax", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "adaptive_max_pool2d", "bitwise_and", "bitwise_or", "celu", "clamp_min", "clone", "cos", "cumsum", "div",
    "div_", "elu", "embedding", "erf", "exp", "expand_as", "feature_dropout", "fill_", "gelu", "glu",
    "hardsigmoid", "hardswish", "hardswish_", "hardtanh", "hardtanh_", "le", "leaky_relu",
    "leaky_relu_", "lift_fresh", "log", "log_softmax", "logical_and", "logical_not", "logical_or", "lt",
    "max_pool1d", "max_pool2d", "max_pool3d", "maximum", "mean", "min", "minimum", "mish", "movedim", "mul",
    "mul_", "ne", "neg", "new_ones", "ones_like", "pad", "pixel_shuffle", "pow", "prelu", "reciprocal",
    "relu6", "repeat", "repeat_interleave", "resize_", "rsqrt", "rsub", "scalar_tensor", "selu", "sigmoid",
    "sigmoid_", "sign", "silu", "silu_", "sin", "softmax", "softplus", "sqrt", "square", "sub", "sum", "tanh",
    "tril", "triu", "unflatten", "unfold", "upsample_nearest1d", "var", "where",
)  # fmt: skip
"""Elementwise, reducing and moving operations: no multiply-adds worth a count, ignored on purpose."""


@dataclass(frozen=True)
class MacCount:
    """Multiply-adds for one sample.

    Attributes:
        pieces: one entry a cut: between the cut before and this one; the first is 0.
        unsupported: operations nobody knows how to count -> how often they occur.
        why: why nothing could be counted, or "".
    """

    pieces: tuple[float, ...]
    unsupported: dict[str, int]
    why: str = ""

    @property
    def total(self) -> float:
        """Of the whole model."""
        return math.fsum(self.pieces)


class Counted(Protocol):
    """Of a `ProfilingContext` what this profiler reads."""

    @property
    def graph(self) -> PartitionGraph:
        """The traced model."""

    @property
    def counted(self) -> MacCount:
        """Multiply-adds of every piece."""


def count(graph: PartitionGraph) -> MacCount:
    """Count every piece in one trace of the whole chain."""
    import torch

    chain = _chain(graph)
    with left_as_found(), _quiet_trace(), torch.no_grad():
        try:
            analysis = analyse(chain, graph.example_inputs)
            by_module = analysis.by_module()
        except RuntimeError as error:
            first = str(error).strip().splitlines()[0]
            return MacCount(
                (0.0, *(math.nan,) * (len(graph.cuts) - 1)), {}, f"torch.jit cannot trace this model: {first}"
            )
        unsupported = {kind.removeprefix("aten::"): n for kind, n in analysis.unsupported_ops().items()}
    pieces = tuple(by_module[f"piece_{i}"] / graph.batch for i in range(1, len(graph.cuts)))
    return MacCount((0.0, *pieces), unsupported)


def columns(context: Counted) -> tuple[Column]:
    """`macs`: of the edge half up to each cut, for one sample."""
    counted = context.counted
    values = [math.fsum(counted.pieces[: i + 1]) for i in range(len(counted.pieces))]
    method = METHOD
    if counted.unsupported:
        listed = ", ".join(f"{name} ×{times}" for name, times in sorted(counted.unsupported.items()))
        method += f"; nobody knows how to count: {listed}"
    why = [counted.why if math.isnan(value) else "" for value in values]
    return (Column.of("macs", "1", "low", values, "measured", method=method, why=why),)


def analyse(module: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """fvcore's analysis of a module, with what we registered on top; it traces when first asked."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(module, tuple(inputs))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    analysis.set_op_handle(**HANDLES)
    return analysis.set_op_handle(**{f"aten::{name}": None for name in IGNORED})


def _chain(graph: PartitionGraph) -> nn.Module:
    """The model as a sequence of its pieces, each a submodule of its own."""
    from torch import nn

    class Chain(nn.Module):
        def forward(self, *tensors: Tensor) -> Any:
            carried: Any = tensors
            for piece in self.children():
                carried = piece(*(carried if isinstance(carried, tuple) else (carried,)))
            return carried

    chain = Chain()
    for i in range(1, len(graph.cuts)):
        chain.add_module(f"piece_{i}", graph.piece(i))
    return chain.eval()


@contextmanager
def _quiet_trace() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- what fvcore does not know -------------------------------------------------------------------------------------


def _shape(value: Any) -> list[int]:
    sizes = value.type().sizes()
    return [] if sizes is None else [int(s) for s in sizes]


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """Scaled dot-product attention: QKᵀ and AV. q [..., L, E], k [..., S, E], v [..., S, F] -> ...·L·S·(E + F)."""
    query, key, value = (_shape(v) for v in inputs[:3])
    length, width = query[-2:]
    macs = math.prod(query[:-2]) * length * key[-2] * (width + value[-1])
    return Counter({"scaled_dot_product_attention": macs})


def _batched_product(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """baddbmm(c, a, b): a [B, n, m], b [B, m, p] -> B·n·m·p."""
    left, right = _shape(inputs[1]), _shape(inputs[2])
    return Counter({"baddbmm": math.prod(left) * right[-1]})


def _outer(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """Products whose output has one multiply-add per element and inner dimension: dot, mv."""
    return Counter({"mv": math.prod(_shape(inputs[0]))})


def _recurrent(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """LSTM, GRU, RNN: every weight matrix is used once per sample and time step. x [..., features] -> steps·Σ|W|."""
    steps = math.prod(_shape(inputs[0])[:-1])
    lists = [v.node().inputs() for v in inputs if v.node().kind() == "prim::ListConstruct"]
    matrices = [shape for values in lists for v in values if len(shape := _shape(v)) == 2]
    return Counter({"recurrent": steps * sum(math.prod(shape) for shape in matrices)})


HANDLES: dict[str, Callable[[Sequence[Any], Sequence[Any]], Counter[str]]] = {
    "aten::scaled_dot_product_attention": _attention,
    "aten::baddbmm": _batched_product,
    "aten::mv": _outer,
    "aten::dot": _outer,
    "aten::lstm": _recurrent,
    "aten::gru": _recurrent,
    "aten::rnn_tanh": _recurrent,
    "aten::rnn_relu": _recurrent,
}
"""Operator -> how to count it, on top of fvcore's own table."""
