"""Sub-graphs: the edge half, the cloud half, and the pieces between neighbouring cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo
from torch.utils import _pytree as pytree

from advisor.errors import CutError
from advisor.symbols import emit, expression, is_symbolic

if TYPE_CHECKING:
    from advisor.cuts import Cut
    from advisor.defenses import Defense
    from advisor.graph import PartitionGraph


def subgraph(root: fx.GraphModule, inputs: Sequence[fx.Node], outputs: Sequence[Any]) -> fx.GraphModule:
    """The part of `root` that computes `outputs` from `inputs`; parameters are shared, not copied.

    Sizes are recomputed from the batch of the first input. Takes and returns flat tensors.

    Raises:
        CutError: when the outputs need something that neither the inputs nor constants give.
    """
    graph, copied = fx.Graph(), {}
    for node in inputs:
        copied[node] = graph.placeholder(node.name)
        copied[node].meta = dict(node.meta)
    rows: list[fx.Node] = []

    def size_of(node: fx.Node) -> Any:
        if not rows:
            rows.append(graph.call_function(torch.ops.aten.sym_size.int, (copied[inputs[0]], 0)))
        return emit(graph, expression(node.meta["val"]), rows[0])

    needed = _needed(inputs, [o for o in outputs if isinstance(o, fx.Node)])
    for node in root.graph.nodes:
        if node not in needed or node in copied:
            continue
        if is_symbolic(node):
            copied[node] = size_of(node)
        elif node.op == "placeholder":
            raise CutError(f"The cloud half would need the input {node.name!r}, which does not cross.")
        else:
            copied[node] = graph.node_copy(node, lambda n: copied[n])
    graph.output(tuple(copied[o] if isinstance(o, fx.Node) else o for o in outputs))
    return fx.GraphModule(root, graph)


def _needed(inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> set[fx.Node]:
    found, stack, stop = set(), list(outputs), set(inputs)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            if node not in stop and not is_symbolic(node):
                stack.extend(node.all_input_nodes)
    return found


def with_structure(
    module: fx.GraphModule, names: Sequence[str], in_spec: pytree.TreeSpec | None, out_spec: pytree.TreeSpec | None
) -> fx.GraphModule:
    """Give a flat sub-graph the calling convention and output structure of the user's model."""
    flat = pytree.tree_structure(((tuple(range(len(names)))), {}))
    if out_spec is None:
        count = len(module.graph.output_node().args[0])
        out_spec = pytree.tree_structure(0 if count == 1 else tuple(range(count)))
    module.graph.set_codegen(_PyTreeCodeGen(_PyTreeInfo(list(names), in_spec or flat, out_spec)))
    module.recompile()
    return module


class Grouped(nn.Module):
    """Runs a program of fixed batch size on any batch, in groups, under `vmap`."""

    def __init__(self, body: nn.Module, size: int) -> None:
        super().__init__()
        self.body = body
        self.size = size

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Same inputs and outputs as the body, any batch size."""
        rows = next(t.shape[0] for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        grouped = pytree.tree_map_only(Tensor, lambda t: group(t, self.size), (args, kwargs))
        result = torch.vmap(lambda a, k: self.body(*a, **k))(*grouped)
        return pytree.tree_map_only(Tensor, lambda t: t.flatten(0, 1)[:rows], result)


def group(value: Tensor, size: int) -> Tensor:
    """`[N, ...]` as `[ceil(N / size), size, ...]`, the last sample repeated to fill the last group."""
    missing = -value.shape[0] % size
    if missing:
        value = torch.cat([value, value[-1:].expand(missing, *value.shape[1:])])
    return value.unflatten(0, (-1, size))


class DefendedEdge(nn.Module):
    """The edge half with its defense: what it returns is what is sent."""

    def __init__(self, edge: nn.Module, defense: Defense) -> None:
        super().__init__()
        self.edge = edge
        self.defense = defense

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's inputs to the wire."""
        return self.defense.apply(self.edge(*args, **kwargs))


class DefendedCloud(nn.Module):
    """The cloud half behind the defense's inverse."""

    def __init__(self, cloud: nn.Module, defense: Defense) -> None:
        super().__init__()
        self.cloud = cloud
        self.defense = defense

    def forward(self, wire: Any) -> Any:
        """What was sent to the model's outputs."""
        return self.cloud(self.defense.restore(wire))


def defended_halves(graph: PartitionGraph, cut: Cut, defense: Defense) -> tuple[nn.Module, nn.Module]:
    """Edge and cloud with the defense inside; the bare halves where there is none."""
    edge, cloud = graph.split(cut)
    if defense.name == "none":
        return edge, cloud
    return DefendedEdge(edge, defense), DefendedCloud(cloud, defense)
