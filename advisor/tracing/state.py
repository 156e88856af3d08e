"""What a forward writes to beside its result, as seen in the graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx, nn

from advisor.operations.views import is_mutation, is_view
from advisor.tracing.refusals import line_of_node

aten = torch.ops.aten
_STATISTICS = {aten.batch_norm.default: 5, aten.instance_norm.default: 5}
"""Operators that write to their arguments 3 and 4 where this argument is set, which their schema does not say."""


def writes_of(graph: fx.Graph) -> list[str]:
    """Buffers and parameters that the operations write to, with the line of each: ``'calls' at net.py:7 (...)``."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        for written in _written_by(node):
            source = _origin(written)
            if source is not None and source.op == "get_attr":
                found.setdefault(str(source.target), line_of_node(node))
    return [f"{name!r}{place}" for name, place in found.items()]


def _written_by(node: fx.Node) -> list[fx.Node]:
    if node.target in _STATISTICS:
        flag = _STATISTICS[node.target]
        return [a for a in node.args[3:5] if isinstance(a, fx.Node)] if node.args[flag] else []
    if not is_mutation(node):
        return []
    return [a for a in node.args[:1] if isinstance(a, fx.Node)]


def _origin(node: fx.Node) -> fx.Node | None:
    """What a value is a view of, itself where it is none."""
    while is_view(node) and not is_mutation(node):
        sources = [a for a in node.args if isinstance(a, fx.Node)]
        if not sources:
            return None
        node = sources[0]
    return _origin(node.all_input_nodes[0]) if is_mutation(node) else node


def written_in(writes: Sequence[str], saved: bool) -> list[str]:
    """Notes on what a forward writes to; a file that does was most likely saved while it was training."""
    notes = [f"The forward writes to {written}; the halves do not." for written in writes]
    if notes and saved:
        notes.append(
            "A program that writes to its buffers was most likely saved in training mode, whose numbers are others: "
            "call model.eval() before it is saved or exported."
        )
    return notes


def own_modes(model: nn.Module) -> list[str]:
    """A note where a model that is training says itself what evaluation is: it is traced with all switched off."""
    plain = (nn.Module.train, torch.jit.ScriptModule.train)
    own = sorted({type(m).__name__ for m in model.modules() if type(m).train not in plain}) if model.training else []
    if not own:
        return []
    return [
        f"{', '.join(own)} has a train() of its own, which was not asked: nothing in the graph trains. "
        "Call model.eval() first to have what that leaves on."
    ]
