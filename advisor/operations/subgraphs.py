"""Parts of a graph as modules of their own: the halves of a split, and the pieces between neighbouring cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo
from torch.utils import _pytree as pytree

from advisor.errors import CutError
from advisor.operations.symbols import emit, expression, is_symbolic


@dataclass(frozen=True)
class Calling:
    """How a part is called and what it returns, as the user's model: flat where no structure is given.

    Attributes:
        names: of the arguments.
        in_spec, out_spec: structure of (args, kwargs), and of what is returned; one flat output comes bare.
    """

    names: Sequence[str]
    in_spec: pytree.TreeSpec | None = None
    out_spec: pytree.TreeSpec | None = None

    def codegen(self, outputs: int) -> _PyTreeCodeGen:
        """Of a graph with so many flat outputs."""
        flat = pytree.tree_structure((tuple(range(len(self.names))), {}))
        returned = self.out_spec or pytree.tree_structure(0 if outputs == 1 else tuple(range(outputs)))
        return _PyTreeCodeGen(_PyTreeInfo(list(self.names), self.in_spec or flat, returned))


def subgraph(
    root: fx.GraphModule, inputs: Sequence[fx.Node], outputs: Sequence[Any], calling: Calling | None = None
) -> fx.GraphModule:
    """The part of `root` that computes `outputs` from `inputs`; parameters are shared, not copied.

    Sizes are recomputed from the batch of the first input.

    Args:
        root: the whole graph.
        inputs, outputs: nodes of it; outputs may be constants.
        calling: how it is called; None: it takes the inputs and returns a tuple of the outputs.

    Raises:
        CutError: when the outputs need something that neither the inputs nor constants give.
    """
    graph, copied = fx.Graph(), {}
    for node in inputs:
        copied[node] = graph.placeholder(node.name)
        copied[node].meta = dict(node.meta)
    rows: list[fx.Node] = []

    def size_of(node: fx.Node) -> Any:
        size = expression(node.meta["val"])
        if size.is_number:  # of a frozen batch
            return int(size)
        if not rows:
            rows.append(graph.call_function(torch.ops.aten.sym_size.int, (copied[leading_input(inputs)], 0)))
        return emit(graph, size, rows[0])

    wanted = needed(inputs, [o for o in outputs if isinstance(o, fx.Node)])
    for node in root.graph.nodes:
        if node not in wanted or node in copied:
            continue
        if is_symbolic(node):
            copied[node] = size_of(node)
        elif node.op == "placeholder":
            raise CutError(f"The cloud half would need the input {node.name!r}, which does not cross.")
        else:
            copied[node] = graph.node_copy(node, lambda n: copied[n])
    graph.output(tuple(copied[o] if isinstance(o, fx.Node) else o for o in outputs))
    if calling is not None:
        graph.set_codegen(calling.codegen(len(outputs)))
    return fx.GraphModule(root, graph)


def leading_input(inputs: Sequence[fx.Node]) -> fx.Node:
    """The first input whose first dimension is the batch, as a symbol of its own.

    Raises:
        CutError: when there is none.
    """
    for node in inputs:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dim() and getattr(expression(value.shape[0]), "is_Symbol", False):
            return node
    raise CutError("A size that is needed after this cut cannot be told from the activation.", "Cut elsewhere.")


def needed(inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> set[fx.Node]:
    """Nodes that the outputs need, down to the inputs; what follows from the batch size needs nothing."""
    found, stack, stop = set(), list(outputs), set(inputs)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            if node not in stop and not is_symbolic(node):
                stack.extend(node.all_input_nodes)
    return found


def spread(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Forward pre-hook: one tuple of tensors as several arguments, so that `cloud(edge(x))` holds for any cut."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], tuple | list) else args
