"""Multiply-adds of one operation from the shapes that it reads and returns: one closed form a kind.

One fused multiply-add is one; a complex one is four. Products, convolutions, recurrent layers, attention,
normalisation, adaptive average pooling and resampling are counted; what touches each element once, reduces or moves is
not (`uncounted`). Where fvcore knows an operator, both agree. What has no form here is nobody's to guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from advisor.profilers.multiply_adds.contraction import einsum

Shape = tuple[int, ...]
COMPLEX = 4
"""Real multiply-adds of a complex one."""


@dataclass(frozen=True)
class Call:
    """One operation.

    Attributes:
        arguments: by name; a tensor by its shape, tensors in a list by a list of shapes.
        result: shape of the first tensor that is returned.
    """

    arguments: Mapping[str, Any]
    result: Shape

    def shape(self, name: str) -> Shape:
        """Of an argument."""
        return tuple(self.arguments[name])

    def elements(self, name: str) -> int:
        """Of an argument."""
        return math.prod(self.shape(name))

    @property
    def out(self) -> int:
        """Elements of the result."""
        return math.prod(self.result)


Form = Callable[[Call], float]


def _product(left: str) -> Form:
    """[..., n, k] x [..., k, m], broadcast, or with a vector at either side: k for each element of the result."""
    return lambda call: call.out * call.shape(left)[-1]


def _summed_product(call: Call) -> float:
    """addbmm: [b, n, k] x [b, k, m], summed over b."""
    return call.elements("batch1") * call.shape("batch2")[-1]


def _tensordot(call: Call) -> float:
    """Sizes of the left, times those of the right that are not summed over."""
    kept = [
        size
        for i, size in enumerate(call.shape("other"))
        if i not in [d % len(call.shape("other")) for d in call.shape("dims_other")]
    ]
    return call.elements("self") * math.prod(kept)


def _outer(call: Call) -> float:
    """One product for each element of the result."""
    return call.out


def _bilinear(call: Call) -> float:
    """x1 [..., i], W [o, i, j], x2 [..., j]: x1·W first, then ·x2."""
    outputs, first, second = call.shape("weight")
    return call.out / outputs * (outputs * first * second + outputs * second)


def _distance(call: Call) -> float:
    """x1 [..., P, M], x2 [..., R, M]: one square for each pair and element."""
    return call.out * call.shape("x1")[-1]


def _convolution(call: Call) -> float:
    """x [N, C, ...], w [O, C/groups, ...]: one kernel for each element of the result."""
    turned = bool(call.arguments.get("transposed", False))
    return _transposed(call) if turned else call.out * math.prod(call.shape("weight")[1:])


def _transposed(call: Call) -> float:
    """x [N, C, ...], w [C, O/groups, ...]: one kernel for each element of the input."""
    return call.elements("input") * math.prod(call.shape("weight")[1:])


def _attention(call: Call) -> float:
    """QK' and AV: q [..., L, E], k [..., S, E], v [..., S, F] -> ...·L·S·(E + F)."""
    heads = call.out // (call.result[-1] or 1)
    return heads * call.shape("key")[-2] * (call.shape("query")[-1] + call.shape("value")[-1])


def _recurrent(call: Call) -> float:
    """LSTM, GRU, RNN: every weight matrix is used once for each sample and time step."""
    steps = math.prod(call.shape("data" if "data" in call.arguments else "input")[:-1])
    weights: list[Shape] = call.arguments["params"]
    return steps * sum(math.prod(weight) for weight in weights if len(weight) == 2)


def _cell(call: Call) -> float:
    """One step of a recurrent layer."""
    return call.shape("input")[0] * (call.elements("w_ih") + call.elements("w_hh"))


def _norm(call: Call) -> float:
    """Mean, variance and scale: 4 an element, 5 with weights."""
    return call.elements("input") * (4 if call.arguments.get("weight") is None else 5)


def _batch_norm(call: Call) -> float:
    """Known statistics are a scale, and with weights a shift of its own; those of the batch are a `_norm`."""
    if call.arguments.get("training", call.arguments.get("train", False)):
        return _norm(call)
    return call.elements("input") * (1 if call.arguments.get("weight") is None else 2)


def _root_mean_square(call: Call) -> float:
    """Squares and scale: 2 an element, 3 with weights."""
    return call.elements("input") * (2 if call.arguments.get("weight") is None else 3)


def _each_input(call: Call) -> float:
    return call.elements("self")


def _einsum(call: Call) -> float:
    return einsum(call.arguments["equation"], call.arguments["tensors"], call.arguments.get("path") or ())


def _each_result(times: int) -> Form:
    return lambda call: times * call.out


FORMS: dict[str, Form] = {
    **dict.fromkeys(("matmul", "inner", "linalg_matmul"), _product("self")),
    **dict.fromkeys(("mm", "_int_mm"), _product("self")),
    "bmm": _product("self"), "mv": _product("self"),
    **dict.fromkeys(("dot", "vdot"), _each_input), "linalg_vecdot": lambda call: call.elements("x"),
    "addmm": _product("mat1"), "baddbmm": _product("batch1"), "addmv": _product("mat"),
    "addbmm": _summed_product, "linear": _product("input"), "einsum": _einsum, "tensordot": _tensordot,
    **dict.fromkeys(("outer", "ger", "addr", "kron"), _outer), "bilinear": _bilinear,
    **dict.fromkeys(("cdist", "_cdist_forward", "_euclidean_dist"), _distance),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "deform_conv2d",
                     "mkldnn_convolution", "conv_depthwise3d", "_conv_depthwise2d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    **dict.fromkeys(("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
                     "_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention",
                     "_scaled_dot_product_attention_math"), _attention),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
    **dict.fromkeys(("batch_norm", "native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm",
                     "_native_batch_norm_legit_no_training", "_native_batch_norm_legit_functional"), _batch_norm),
    **dict.fromkeys(("group_norm", "layer_norm", "instance_norm", "native_layer_norm", "native_group_norm"), _norm),
    "rms_norm": _root_mean_square, "_fused_rms_norm": _root_mean_square,
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d",
                     "_adaptive_avg_pool3d"), _each_input),
    **dict.fromkeys(("upsample_nearest2d", "upsample_nearest3d"), _each_result(1)),
    "upsample_linear1d": _each_result(2), "upsample_trilinear3d": _each_result(8),
    **dict.fromkeys(("upsample_bilinear2d", "_upsample_bilinear2d_aa", "grid_sampler", "grid_sampler_2d"),
                    _each_result(4)),
    **dict.fromkeys(("upsample_bicubic2d", "_upsample_bicubic2d_aa"), _each_result(16)),
    "grid_sampler_3d": _each_result(8),
}  # fmt: skip
"""Name of an operator -> its multiply-adds."""
