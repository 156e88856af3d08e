"""Weights that TorchScript holds as constants: all of a frozen module, and an LSTM's list of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx
from torch.nn import Parameter
from torch.utils import _pytree as pytree


def own_constant_weights(module: fx.GraphModule, weights: Sequence[Tensor]) -> None:
    """Make parameters of them, in place, so that they are counted.

    Args:
        module: the converter's graph, with the bodies of its branches.
        weights: the parameters that the file names; where it names none, any constant tensor of real numbers is one.
    """
    for part in [m for m in module.modules() if isinstance(m, fx.GraphModule)]:
        for name, value in list(part._buffers.items()):
            if value is not None and name.startswith("lifted_tensor_") and _is_weight(value, weights):
                del part._buffers[name]
                part.register_parameter(name, _owned(value))
        for node in list(part.graph.nodes):
            _own_literals(part, node, weights)
        part.recompile()


def _own_literals(part: fx.GraphModule, node: fx.Node, weights: Sequence[Tensor]) -> None:
    """Tensors that stand in an operation's arguments themselves."""

    def read(value: Tensor) -> Any:
        if not _is_weight(value, weights):
            return value
        name = f"constant_weight_{len(part._parameters)}"
        part.register_parameter(name, _owned(value))
        with part.graph.inserting_before(node):
            return part.graph.get_attr(name)

    node.args, node.kwargs = pytree.tree_map_only(Tensor, read, (node.args, node.kwargs))


def _is_weight(value: Tensor, weights: Sequence[Tensor]) -> bool:
    if not value.is_floating_point() or not value.dim():
        return False
    return not weights or any(value.shape == weight.shape and value.equal(weight) for weight in weights)


def _owned(value: Tensor) -> Parameter:
    return Parameter(value.detach(), requires_grad=False)
