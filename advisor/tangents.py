"""Forward-mode derivatives for every cut in one walk: J v for k probe directions v beside the primal.

Affine operations push all probes through as one larger batch (without the bias), pointwise ones multiply by the
derivative, and only the rest goes through `vmap` of `torch.func.jvp`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from advisor.graph import PartitionGraph
from advisor.preserve import left_as_found, math_attention, plain_attention, without_mkldnn
from advisor.symbols import is_symbolic

aten = torch.ops.aten

_MICRO_BYTES = 96 * 2**20  # memory for the largest tangent of one micro-batch

_LINEAR = {
    "view", "reshape", "_unsafe_view", "permute", "transpose", "t", "flatten", "unflatten", "squeeze", "unsqueeze",
    "contiguous", "clone", "alias", "detach", "expand", "slice", "select", "narrow", "cat", "stack", "split",
    "split_with_sizes", "chunk", "unbind", "roll", "flip", "pad", "constant_pad_nd", "mean", "sum", "neg", "add",
    "sub", "rsub", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "upsample_nearest2d",
    "upsample_bilinear2d", "pixel_shuffle", "dropout", "feature_dropout", "getitem", "movedim", "repeat", "_to_copy",
    "to", "index_select", "channel_shuffle", "unfold",
}  # fmt: skip
_LINEAR_IN_ONE = {"mul", "matmul", "bmm", "mm", "div"}
_POINTWISE = {
    "relu", "relu6", "hardtanh", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "leaky_relu", "elu",
    "mish", "softplus", "exp", "log", "log1p", "sqrt", "rsqrt", "abs", "clamp", "clamp_min", "selu", "celu", "sin", "cos",
    "square", "reciprocal", "erf", "softsign", "hardshrink", "softshrink",
}  # fmt: skip
_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}


@dataclass(frozen=True, eq=False)
class TangentEnergy:
    """Squared lengths of the tangents that cross a cut.

    Attributes:
        energy: `[probes, samples]` float64, ‖J v‖² over all crossing elements; its mean over probes is Tr(JᵀJ).
        signal: `[samples]` float64, ‖z‖².
        elements: d, elements of one input.
        problem: why there are no tangents here; "" when there are.
    """

    energy: Tensor
    signal: Tensor
    elements: int
    problem: str = ""


class _Broken(Exception):
    """Forward mode is not implemented for an operator."""


def tangent_energies(
    graph: PartitionGraph,
    inputs: Sequence[Tensor],
    probes: int,
    seed: int,
    progress: Callable[[float, str], None] | None = None,
) -> dict[int, TangentEnergy]:
    """‖J v‖² at every cut for Rademacher probes v (Hutchinson 1990), a few samples at a time.

    Args:
        graph: the traced model.
        inputs: flat tensors `[m, ...]`, floating point.
        probes: number k of directions, the same number for each sample, drawn independently.
        seed: of the probes.
        progress: called after each micro-batch.

    Returns:
        One `TangentEnergy` a cut, by cut index.
    """
    rows = inputs[0].shape[0]
    largest = max(graph.value_bytes(node) for node in graph.data_nodes) or 1
    step = max(1, min(rows, int(_MICRO_BYTES / (largest * probes))))
    generator = torch.Generator().manual_seed(seed)
    parts: list[dict[int, TangentEnergy]] = []
    with left_as_found(graph.module), plain_attention(), math_attention(), torch.no_grad():
        for start in range(0, rows, step):
            batch = [x[start : start + step] for x in inputs]
            directions = [_rademacher((probes, *x.shape), x.dtype, generator) for x in batch]
            parts.append(_energies(graph, batch, directions))
            if progress:
                progress(min(1.0, (start + step) / rows), "derivatives")
    return {index: _joined([part[index] for part in parts]) for index in parts[0]}


def _rademacher(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, shape, generator=generator, dtype=torch.int8) * 2 - 1).to(dtype)


def _joined(parts: list[TangentEnergy]) -> TangentEnergy:
    problem = next((p.problem for p in parts if p.problem), "")
    return TangentEnergy(
        torch.cat([p.energy for p in parts], 1), torch.cat([p.signal for p in parts]), parts[0].elements, problem
    )


def _energies(graph: PartitionGraph, batch: list[Tensor], directions: list[Tensor]) -> dict[int, TangentEnergy]:
    found: dict[int, list[tuple[Tensor, Tensor, str]]] = {i: [] for i in range(len(graph.crossings))}
    wanted: dict[fx.Node, list[int]] = {}
    for index, nodes in enumerate(graph.crossings):
        for node in nodes:
            wanted.setdefault(node, []).append(index)

    def at_node(node: fx.Node, primal: Any, tangent: Any, problem: str) -> None:
        for index in wanted.get(node, []):
            signal = _square_lengths(primal, 1)
            energy = torch.zeros(directions[0].shape[0], signal.shape[0], dtype=torch.float64)
            if isinstance(tangent, Tensor):
                energy = _square_lengths(tangent, 2)
            found[index].append((energy, signal, problem))

    walk(graph, batch, directions, at_node)
    elements = sum(math.prod(x.shape[1:]) for x in batch)
    energies = {}
    for index, entries in found.items():
        energy = torch.stack([e for e, _, _ in entries]).sum(0)
        signal = torch.stack([s for _, s, _ in entries]).sum(0)
        energies[index] = TangentEnergy(energy, signal, elements, next((p for *_, p in entries if p), ""))
    return energies


def _square_lengths(value: Tensor, leading: int) -> Tensor:
    return torch.linalg.vector_norm(value.flatten(leading), dim=leading).double().square()


def walk(
    graph: PartitionGraph,
    inputs: Sequence[Tensor],
    directions: Sequence[Tensor],
    at_node: Callable[[fx.Node, Any, Any, str], None],
) -> None:
    """Run the model with tangents, handing (node, primal, tangent `[k, N, ...]` or None, problem) to `at_node`."""
    tangents: dict[fx.Node, Any] = dict(zip(graph.placeholders, directions, strict=True))
    problems: dict[fx.Node, str] = {}
    primals: dict[fx.Node, Any] = {}
    left = dict(graph._uses)

    def observe(node: fx.Node, primal: Any) -> None:
        primals[node] = primal
        if node.op == "call_function":
            _advance(node)
        at_node(node, primal, tangents.get(node), problems.get(node, ""))
        for source in node.all_input_nodes:
            left[source] -= 1
            if not left[source]:
                for table in (primals, tangents):
                    table.pop(source, None)

    def _advance(node: fx.Node) -> None:
        broken = next((problems[s] for s in node.all_input_nodes if s in problems), "")
        if broken:
            problems[node] = broken
        elif any(s in tangents for s in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: _value(graph, primals, n))
            try:
                result = push(node, args, kwargs, tangents, primals[node])
            except _Broken as error:
                problems[node] = str(error)
            else:
                if result is not None:
                    tangents[node] = result

    graph.run(tuple(inputs), observe)


def _value(graph: PartitionGraph, primals: dict[fx.Node, Any], node: fx.Node) -> Any:
    return graph.constant(node) if node.op == "get_attr" else primals[node]


def push(node: fx.Node, args: Any, kwargs: Any, tangents: dict[fx.Node, Any], primal: Any) -> Any:
    """Tangent `[k, ...]` of one operation's output, None where the output is not differentiable."""
    first = next((v for v in pytree.tree_leaves(primal) if isinstance(v, Tensor)), None)
    if first is None or is_symbolic(node) or not first.dtype.is_floating_point:
        return None
    name = _name(node)
    moving = [s for s in node.all_input_nodes if s in tangents]
    lone = len(moving) == 1 and node.args and node.args[0] is moving[0]
    if name == "linear" and lone:
        return torch.nn.functional.linear(tangents[moving[0]], args[1])
    if name in ("conv1d", "conv2d", "conv3d") and lone:
        return _folded(node.target, tangents[moving[0]], args[1], None, *args[3:])
    if name == "batch_norm" and lone and not args[5]:
        scale = torch.rsqrt(args[4] + args[7]) * (1 if args[1] is None else args[1])
        return tangents[moving[0]] * scale.view(1, 1, -1, *(1,) * (primal.dim() - 2))
    if name in _POINTWISE and lone:
        slope = torch.func.jvp(lambda x: node.target(x, *args[1:], **kwargs), (args[0],), (torch.ones_like(args[0]),))[
            1
        ]
        return tangents[moving[0]] * slope
    if name in _LINEAR and not _integer_division(name, kwargs):
        return _linear(node, args, kwargs, tangents, zero_constants=True)
    if name in _LINEAR_IN_ONE and len(moving) == 1 and (name != "div" or lone) and node.args.count(moving[0]) == 1:
        return _linear(node, args, kwargs, tangents, zero_constants=False)
    return _general(node, args, kwargs, tangents)


def _name(node: fx.Node) -> str:
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target._schema.name).split("::")[-1]
    return str(getattr(node.target, "__name__", ""))


def _integer_division(name: str, kwargs: Any) -> bool:
    return name == "div" and kwargs.get("rounding_mode") is not None


def _folded(operator: Any, tangent: Tensor, *rest: Any) -> Tensor:
    """An operation whose first dimension is the batch, on `[k, N, ...]` as one batch of k·N."""
    return operator(tangent.flatten(0, 1), *rest).unflatten(0, tangent.shape[:2])  # type: ignore[no-any-return]


def _call_with(
    node: fx.Node, args: Any, kwargs: Any, sources: list[fx.Node], zero_constants: bool
) -> Callable[..., Any]:
    flat_nodes, structure = pytree.tree_flatten((node.args, node.kwargs))
    flat_values = [
        v if isinstance(n, fx.Node) else n for n, v in zip(flat_nodes, _leaves(args, kwargs, structure), strict=True)
    ]

    def call(*moved: Any) -> Any:
        merged = []
        for n, value in zip(flat_nodes, flat_values, strict=True):
            if isinstance(n, fx.Node) and n in sources:
                merged.append(moved[sources.index(n)])
            elif zero_constants and isinstance(n, fx.Node) and isinstance(value, Tensor):
                merged.append(torch.zeros_like(value))
            else:
                merged.append(0 if zero_constants and _is_addend(node, n) else value)
        inner_args, inner_kwargs = pytree.tree_unflatten(merged, structure)
        return node.target(*inner_args, **inner_kwargs)  # type: ignore[operator]

    return call


def _leaves(args: Any, kwargs: Any, structure: pytree.TreeSpec) -> list[Any]:
    return structure.flatten_up_to((args, kwargs))


def _is_addend(node: fx.Node, leaf: Any) -> bool:
    """A plain number added to a tensor (`x + 1`) has no tangent; `alpha` stays."""
    return _name(node) in ("add", "sub", "rsub") and leaf is node.args[1] and isinstance(leaf, int | float)


def _linear(node: fx.Node, args: Any, kwargs: Any, tangents: dict[fx.Node, Any], zero_constants: bool) -> Any:
    sources = [s for s in node.all_input_nodes if s in tangents]
    return torch.vmap(_call_with(node, args, kwargs, sources, zero_constants))(*(tangents[s] for s in sources))


def _general(node: fx.Node, args: Any, kwargs: Any, tangents: dict[fx.Node, Any]) -> Any:
    sources = [s for s in node.all_input_nodes if s in tangents]
    values = dict(zip(_node_leaves(node), _leaves_of(args, kwargs, node), strict=True))
    primals = tuple(values[s] for s in sources)
    call = _call_with(node, args, kwargs, sources, zero_constants=False)
    kernels = without_mkldnn() if _name(node) in _RECURRENT else nullcontext()
    try:
        with kernels:
            return torch.vmap(lambda *t: torch.func.jvp(call, primals, t)[1])(*(tangents[s] for s in sources))
    except (RuntimeError, NotImplementedError) as error:
        line = str(error).splitlines()[0][:160]
        raise _Broken(f"forward mode is not implemented for {_name(node)} ({line})") from None


def _node_leaves(node: fx.Node) -> list[Any]:
    return pytree.tree_leaves((node.args, node.kwargs))


def _leaves_of(args: Any, kwargs: Any, node: fx.Node) -> list[Any]:
    return _leaves(args, kwargs, pytree.tree_structure((node.args, node.kwargs)))
