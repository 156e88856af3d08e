"""The forward-mode derivative of one operation: tangents of its arguments to the tangent of its output.

Affine operations push all probes through as one larger batch (without the bias), pointwise ones multiply by the
derivative, and only the rest goes through `vmap` of `torch.func.jvp`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from advisor.derivatives import tangent_rules
from advisor.operations.grouping import Batching, over_groups
from advisor.support.preserve import without_mkldnn

_LINEAR = {
    "view", "reshape", "_unsafe_view", "permute", "transpose", "t", "flatten", "unflatten", "squeeze", "unsqueeze",
    "contiguous", "clone", "alias", "detach", "expand", "slice", "select", "narrow", "cat", "stack", "split",
    "split_with_sizes", "chunk", "unbind", "roll", "flip", "mean", "sum", "neg", "add",
    "sub", "rsub", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "upsample_nearest2d",
    "upsample_bilinear2d", "pixel_shuffle", "dropout", "feature_dropout", "getitem", "movedim", "repeat", "_to_copy",
    "to", "channel_shuffle", "unfold", "slice_scatter",
    "select_scatter", "diagonal_scatter",
}  # fmt: skip
_LINEAR_IN_ONE = {"mul", "matmul", "bmm", "mm", "div", "index_select"}
_POINTWISE = {
    "relu", "relu6", "hardtanh", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "leaky_relu", "elu",
    "mish", "softplus", "exp", "log", "log1p", "sqrt", "rsqrt", "abs", "clamp", "clamp_min", "selu", "celu", "sin",
    "cos", "square", "reciprocal", "erf", "softsign", "hardshrink", "softshrink",
}  # fmt: skip
_WIDE = (torch.float32, torch.float64)
"""Where a formula may be evaluated as it stands; narrower types accumulate inside torch's own kernels."""

_RAMPS = {"relu", "relu6", "hardtanh"}
STEPS = {"round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floor_divide"}
"""Step functions of numbers: zero almost everywhere is their derivative, and says nothing of what they let through."""

_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of the graph with the values of its arguments, flat."""

    node: fx.Node
    leaves: list[Any]
    structure: pytree.TreeSpec
    values: list[Any]
    batching: Batching

    @cached_property
    def _both(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self.structure.unflatten(self.values)  # type: ignore[no-any-return]

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments."""
        return self._both[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return self._both[1]

    def at(self, sources: Sequence[fx.Node], constants: bool = True) -> Callable[..., Any]:
        """The operation as a function of `sources`; without `constants`, all that is added to them is zero."""

        def call(*moved: Any) -> Any:
            merged = [self._held(i, constants) for i in range(len(self.leaves))]
            for i, leaf in enumerate(self.leaves):
                if isinstance(leaf, fx.Node) and leaf in sources:
                    merged[i] = moved[sources.index(leaf)]
            return self.batching.evaluate(self.node, self.leaves, self.structure, merged)

        return call

    def _held(self, position: int, constants: bool) -> Any:
        value = self.values[position]
        if constants:
            return value
        if isinstance(self.leaves[position], fx.Node) and isinstance(value, Tensor):
            return torch.zeros_like(value)
        # a plain number added to a tensor (`x + 1`) has no tangent; `alpha`, which follows it, stays
        return 0 if operator_name(self.node) in ("add", "sub", "rsub") and position == 1 else value


def push(operation: Operation, tangents: dict[fx.Node, Any], primal: Any, consume: bool = False) -> Any:
    """Tangent `[k, ...]` of one operation's output; with `consume`, the only argument's tangent may be written over."""
    node, name = operation.node, operator_name(operation.node)
    moving = [s for s in node.all_input_nodes if s in tangents]
    alone = len(moving) == 1 and node.args and node.args[0] is moving[0] and operation.leaves.count(moving[0]) == 1
    if alone and not operation.batching.groups:
        pushed = _alone(name, operation, tangents[moving[0]], primal, consume)
        if pushed is not None:
            return pushed
    if name == "scaled_dot_product_attention" and _plain_attention(operation, moving):
        three: Any = operation.node.args[:3]
        query, key, value = operation.args[:3]
        return tangent_rules.attention(
            (tangents[three[0]], tangents[three[1]], tangents[three[2]]), (query, key, value)
        )
    if name in _LINEAR:
        return _linear(operation, moving, tangents, constants=False)
    if name in _LINEAR_IN_ONE and alone:
        return _linear(operation, moving, tangents, constants=True)
    return _general(operation, moving, tangents)


def _alone(name: str, operation: Operation, tangent: Tensor, primal: Any, consume: bool) -> Tensor | None:
    """Shortcuts for operations whose first argument alone moves; None where there is none."""
    args, kwargs = operation.args, operation.kwargs
    target: Any = operation.node.target
    if name == "linear":
        return torch.nn.functional.linear(tangent, args[1])
    if name in ("conv1d", "conv2d", "conv3d") and not kwargs:
        return _folded(target, tangent, args[1], None, *args[3:])
    if name == "batch_norm" and not args[5]:
        scale: Tensor = torch.rsqrt(args[4] + args[7]) * (1 if args[1] is None else args[1])
        return _scaled(tangent, scale.view(1, 1, -1, *(1,) * (primal.dim() - 2)), consume)
    if name == "layer_norm" and not kwargs and primal.dtype in _WIDE:
        return tangent_rules.layer_norm(tangent, args)
    if name in _RAMPS and not kwargs and tangent.dtype == args[0].dtype:
        return _let_through(name, tangent, args, consume)
    if name in _POINTWISE:
        return _scaled(tangent, _slope(name, target, args, kwargs), consume)
    return None


def _plain_attention(operation: Operation, moving: list[fx.Node]) -> bool:
    """Whether queries, keys and values all move, of the same number of heads, without mask, dropout or scale."""
    args = operation.args
    if operation.batching.groups or operation.kwargs or any(arg for arg in args[3:] if not isinstance(arg, Tensor)):
        return False
    if any(isinstance(arg, Tensor) for arg in args[3:]) or args[0].dtype not in _WIDE:
        return False
    return all(n in moving for n in operation.node.args[:3]) and args[0].shape[:-2] == args[1].shape[:-2]


def _let_through(name: str, tangent: Tensor, args: tuple[Any, ...], consume: bool) -> Tensor:
    """Through a ramp: the tangent where the input lies on it, else 0; one pass over memory, and no slope is made."""
    out = {"grad_input": tangent} if consume else {}
    if name == "relu":
        operator = torch.ops.aten.threshold_backward
        return (operator.grad_input if consume else operator.default)(tangent, args[0], 0, **out)  # type: ignore[no-any-return]
    low, high = (0.0, 6.0) if name == "relu6" else (*args[1:], *(-1.0, 1.0)[len(args) - 1 :])
    operator = torch.ops.aten.hardtanh_backward
    return (operator.grad_input if consume else operator.default)(tangent, args[0], low, high, **out)  # type: ignore[no-any-return]


def _slope(name: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Derivative of a pointwise operation; the kernels of reverse mode make it in one pass where there are such."""
    ones = torch.ones_like(args[0])
    if name == "silu":
        return torch.ops.aten.silu_backward(ones, args[0])  # type: ignore[no-any-return]
    if name == "gelu" and len(args) == 1:
        return torch.ops.aten.gelu_backward(ones, args[0], **kwargs)  # type: ignore[no-any-return]
    slope: Tensor = torch.func.jvp(lambda x: target(x, *args[1:], **kwargs), (args[0],), (ones,))[1]
    return slope


def _scaled(tangent: Tensor, factor: Tensor, consume: bool) -> Tensor:
    """tangent · factor; in place it saves fresh memory, which costs more than the product."""
    return tangent.mul_(factor) if consume and factor.dtype == tangent.dtype else tangent * factor


def operator_name(node: fx.Node) -> str:
    """`conv2d` for `aten.conv2d.default`."""
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target._schema.name).split("::")[-1]
    return str(getattr(node.target, "__name__", ""))


def _folded(operator: Any, tangent: Tensor, *rest: Any) -> Tensor:
    """An operation whose first dimension is the batch, on `[k, N, ...]` as one batch of k·N."""
    result: Tensor = operator(tangent.flatten(0, 1), *rest)
    return result.view(*tangent.shape[:2], *result.shape[1:])


def _linear(operation: Operation, sources: list[fx.Node], tangents: dict[fx.Node, Any], constants: bool) -> Any:
    return over_groups(operation.at(sources, constants), *(tangents[s] for s in sources))


def _general(operation: Operation, sources: list[fx.Node], tangents: dict[fx.Node, Any]) -> Any:
    primals = tuple(operation.values[operation.leaves.index(s)] for s in sources)
    call = operation.at(sources)
    with without_mkldnn() if operator_name(operation.node) in _RECURRENT else nullcontext():
        pushed = over_groups(lambda *t: torch.func.jvp(call, primals, t)[1], *(tangents[s] for s in sources))
    if _is_foreign(operation.node) and not any(bool(t.any()) for t in pytree.tree_leaves(pushed)):
        raise NotImplementedError("no derivative is registered for it")  # torch takes it for a constant, silently
    return pushed


def is_step(node: fx.Node) -> bool:
    """Whether an operation is a step function of its first argument."""
    return operator_name(node) in STEPS or node.kwargs.get("rounding_mode") is not None


def _is_foreign(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in ("aten", "prims")
