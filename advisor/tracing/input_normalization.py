"""The normalisation of an input as the graph's first operations."""

from __future__ import annotations

import dataclasses

import torch
from torch import fx

from advisor.errors import DataError
from advisor.graph import PartitionGraph

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation by channel."""


def normalizing(graph: PartitionGraph, normalization: Normalization | None) -> PartitionGraph:
    """A graph whose first operations normalise its input; None leaves it as it is.

    Raises:
        DataError: where the input is no floating-point tensor with as many channels.
    """
    if normalization is None:
        return graph
    _insert(graph.module, graph.placeholders[0], normalization)
    return dataclasses.replace(graph, inputs=dataclasses.replace(graph.inputs, normalization=normalization))


def _insert(module: fx.GraphModule, x: fx.Node, normalization: Normalization) -> None:
    value = x.meta["val"]
    view = (1, -1, *(1,) * (value.dim() - 2))
    channels = len(normalization[0])
    if not value.dtype.is_floating_point:
        dtype = str(value.dtype).removeprefix("torch.")
        raise DataError(f"The model takes {dtype}, which cannot be normalised.", "See --normalize.")
    if value.dim() < 2 or channels not in (1, value.shape[1]):
        raise DataError(
            f"The normalisation has {channels} channels, the input {tuple(value.shape[1:])}.", "See --normalize."
        )
    for name, numbers in zip(("mean", "std"), normalization, strict=True):
        module.register_buffer(f"normalize_{name}", torch.tensor(numbers, dtype=value.dtype).view(view))
    stack = {"L__self__": ("", "torch.nn.Module"), "normalize": ("normalize", "torch.nn.Module")}
    users, result = list(x.users), x
    with module.graph.inserting_before(next(n for n in module.graph.nodes if n.op in ("call_function", "output"))):
        for name, operator in (("mean", torch.ops.aten.sub.Tensor), ("std", torch.ops.aten.div.Tensor)):
            constant = module.graph.get_attr(f"normalize_{name}")
            constant.meta["val"] = getattr(module, f"normalize_{name}")
            result = module.graph.call_function(operator, (result, constant))
            result.meta = {"val": value, "nn_module_stack": stack}
    for user in users:
        user.replace_input_with(x, result)
    module.recompile()
