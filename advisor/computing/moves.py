"""Values and graphs from one device to another; what was given is left where it was."""

from __future__ import annotations

import copy
import dataclasses
import weakref
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from advisor.computing.chosen_device import CPU, current
from advisor.graph import PartitionGraph

_twins: weakref.WeakKeyDictionary[PartitionGraph, tuple[str, torch.device, PartitionGraph]]
_twins = weakref.WeakKeyDictionary()
_origins: weakref.WeakKeyDictionary[PartitionGraph, weakref.ref[PartitionGraph]]
_origins = weakref.WeakKeyDictionary()


def there(graph: PartitionGraph) -> PartitionGraph:
    """The graph with its weights on the compute device; itself where they are."""
    device = current()
    if device.type == CPU or graph in _origins:
        return graph
    kept = _twins.get(graph)
    if kept is None or kept[:2] != (graph.digest, device):
        twin = _twin(graph, device)
        _origins[twin] = weakref.ref(graph)
        _twins[graph] = kept = (graph.digest, device, twin)
    return kept[2]


def _twin(graph: PartitionGraph, device: torch.device) -> PartitionGraph:
    fields = {field.name: getattr(graph, field.name) for field in dataclasses.fields(graph)}
    inner = {name: there(value) for name, value in fields.items() if isinstance(value, PartitionGraph)}
    example = tuple(t.to(device) for t in graph.example_inputs)
    twin = dataclasses.replace(graph, module=_module(graph.module, device), example_inputs=example, **inner)  # type: ignore[arg-type]
    twin.has_digest(graph.digest)
    return twin


def _module(module: fx.GraphModule, device: torch.device) -> fx.GraphModule:
    """A copy with its weights there, whose operations make what they make there."""
    twin = copy.deepcopy(module)
    for node in twin.graph.nodes:
        node.args, node.kwargs = pytree.tree_map_only(torch.device, lambda _: device, (node.args, node.kwargs))
    twin.recompile()
    return twin.to(device)


def moved(value: Any, device: torch.device) -> Any:
    """A value with all tensors in it on a device, and graphs and modules too; itself where it holds none elsewhere.

    Tuples, lists, dicts and dataclasses are looked into; a graph goes to the compute device, and back to that which it
    is a copy of.
    """
    if isinstance(value, Tensor):
        return value if value.device == device else value.to(device)
    if isinstance(value, PartitionGraph):
        return _home(value) if device.type == CPU else there(value)
    if isinstance(value, nn.Module):
        return value.to(device) if device.type == CPU else copy.deepcopy(value).to(device)
    if isinstance(value, dict):
        return _same_or(value, {key: moved(inner, device) for key, inner in value.items()})
    if isinstance(value, tuple | list):
        parts = [moved(inner, device) for inner in value]
        return _same_or(value, type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _of_dataclass(value, device)
    return value


def _home(twin: PartitionGraph) -> PartitionGraph:
    origin = _origins.get(twin)
    found = None if origin is None else origin()
    return twin if found is None else found


def _same_or(before: Any, after: Any) -> Any:
    old, new = (value.values() if isinstance(value, dict) else value for value in (before, after))
    return before if all(a is b for a, b in zip(old, new, strict=True)) else after


def _of_dataclass(value: Any, device: torch.device) -> Any:
    names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
    changed = {name: new for name in names if (new := moved(old := getattr(value, name), device)) is not old}
    if not changed:
        return value
    other = copy.copy(value)
    for name in set(vars(other)) - set(names):
        del other.__dict__[name]  # what was computed once was computed there
    for name, new in changed.items():
        object.__setattr__(other, name, new)
    return other
