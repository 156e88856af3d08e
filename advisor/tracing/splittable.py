"""Whether a program can be split: inputs lead with the batch, sizes are known beforehand, a tensor comes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from advisor.errors import TraceError
from advisor.operations.dag import flat_results
from advisor.operations.symbols import frozen_size, is_symbolic, symbols_of
from advisor.tracing.refusals import unknown_size


def batch_of(nodes: list[fx.Node]) -> int | None:
    """The frozen batch size, None where it is dynamic.

    Raises:
        TraceError: when an input has no batch dimension.
    """
    sizes = {}
    for node in nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            raise TraceError(f"The input {node.name!r} is no tensor.", "Close over constants instead of passing them.")
        sizes[node.name] = frozen_size(value.shape[0]) if value.dim() else 0
    if not sizes:
        raise TraceError("This model takes no input.", "There is nothing to split.")
    frozen = {name: size for name, size in sizes.items() if size is not None}
    if not frozen:
        return None
    if len(frozen) < len(sizes) or len(set(frozen.values())) > 1:
        raise TraceError(
            f"The first dimension of the input {min(frozen)!r} is not the batch.",
            "Give every input a leading batch dimension, or make it a buffer of the model.",
        )
    return next(iter(frozen.values()))


def check_sizes(graph: fx.Graph, inputs: list[fx.Node]) -> None:
    """Refuse sizes that depend on values: after a cut they could not be told from the batch."""
    known = {symbol for node in inputs for symbol in symbols_of(node.meta["val"].shape[0])}
    for node in graph.nodes:
        values = [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, torch.Tensor)]
        unknown = {symbol for v in values for size in v.shape for symbol in symbols_of(size)} - known
        if unknown:
            raise unknown_size(node, _reads_values(node, unknown, inputs))


def _reads_values(node: fx.Node, unknown: set[Any], inputs: list[fx.Node]) -> bool:
    """Whether a number behind a size was computed from the values of the input; from its shape only otherwise."""
    read = [n for n in node.graph.nodes if symbols_of(n.meta.get("val")) & unknown and not is_symbolic(n)]
    stack, seen = read or [node], set(read)
    while stack:
        for source in stack.pop().all_input_nodes:
            if source in inputs:
                return True
            if source not in seen and not is_symbolic(source):
                seen.add(source)
                stack.append(source)
    return False


def check_results(graph: fx.Graph, notes: list[str]) -> None:
    """Refuse a model that returns no tensor; say where nothing that it returns can be differentiated."""
    values = [r.meta.get("val") if isinstance(r, fx.Node) else r for r in flat_results(graph)]
    kinds = [v.dtype for v in values if isinstance(v, torch.Tensor)]
    if not kinds:
        found = ", ".join(dict.fromkeys("None" if v is None else type(v).__name__ for v in values)) or "nothing"
        raise TraceError(f"The model returns no tensor ({found}).", "There is nothing to split.")
    if not any(kind.is_floating_point or kind.is_complex for kind in kinds):
        whole = ", ".join(dict.fromkeys(str(kind).removeprefix("torch.") for kind in kinds))
        notes.append(
            f"All that the model returns is {whole}: nothing of it can be differentiated, so return the scores."
        )
