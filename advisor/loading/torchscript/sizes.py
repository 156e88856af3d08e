"""Sizes that TorchScript computes with as tensors, as the numbers they are.

`torch.jit.trace` records `b * c` of `b, c, h, w = x.shape` as a product of tensors that is read out again. torch.export
takes such a number for a value of the input, on which no shape may depend.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
_ARITHMETIC: dict[Any, Any] = {
    aten.mul.Tensor: operator.mul,
    aten.add.Tensor: operator.add,
    aten.sub.Tensor: operator.sub,
    aten.floor_divide.default: operator.floordiv,
}
_READS = {
    aten._local_scalar_dense.default, aten.item.default, aten.ScalarImplicit.default, aten.IntImplicit.default,
    aten.Int.Tensor,
}  # fmt: skip
_SAME = (aten._to_copy.default, aten.clone.default, aten.detach.default, aten.alias.default)


def sizes_as_numbers(module: fx.GraphModule) -> None:
    """Rewrite in place what is read out of arithmetic on sizes; other numbers that are read stay as they are."""
    graph = module.graph
    numbers: dict[Any, Any] = {}
    for node in list(graph.nodes):
        if node.target in _READS and node.args[0] in numbers:
            node.replace_all_uses_with(numbers[node.args[0]])
            graph.erase_node(node)
        elif (number := _number(module, node, numbers)) is not None:
            numbers[node] = number
    module.recompile()


def _number(module: fx.GraphModule, node: fx.Node, numbers: dict[Any, Any]) -> Any:
    """What a node's tensor of one integer holds: an int, or a node that computes it from sizes; None where neither."""
    if node.op == "get_attr":
        return _literal(module, str(node.target))
    if node.op != "call_function" or not node.args:
        return None
    first = node.args[0]
    if node.target in (aten.scalar_tensor, aten.scalar_tensor.default):
        return first if "sym_size" in str(getattr(first, "target", "")) else None
    if node.target in _SAME:
        kind: Any = node.kwargs.get("dtype") or torch.int64
        return None if kind.is_floating_point or kind.is_complex else numbers.get(first)
    if node.target not in _ARITHMETIC or node.kwargs.get("alpha", 1) != 1:
        return None
    operands = tuple(numbers.get(a) if isinstance(a, fx.Node) else a for a in node.args)
    if any(not isinstance(o, int | fx.Node) for o in operands):
        return None
    with module.graph.inserting_before(node):
        return module.graph.call_function(_ARITHMETIC[node.target], operands)


def _literal(module: fx.GraphModule, name: str) -> int | None:
    """A number that the code holds, which the converter keeps beside the weights."""
    value = getattr(module, name, None) if name.startswith("lifted_tensor_") else None
    scalar = isinstance(value, torch.Tensor) and value.dim() == 0 and value.dtype in (torch.int64, torch.int32)
    return int(value) if scalar else None  # type: ignore[arg-type]
