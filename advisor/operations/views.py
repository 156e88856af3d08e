"""Which operations share memory with what they read, and which write to it."""

from __future__ import annotations

import torch
from torch import fx

from advisor.operations.symbols import is_symbolic

aten = torch.ops.aten
_KEEPS_MEMORY = {  # in eval mode these return their argument itself, which their schema does not say
    aten.dropout.default,
    aten.feature_dropout.default,
    aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
}


def is_mutation(node: fx.Node) -> bool:
    """Whether the operator writes to one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def is_view(node: fx.Node) -> bool:
    """Whether the output may share memory with an argument."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.op == "call_function" and not is_symbolic(node)
    if node.target in _KEEPS_MEMORY:
        return True
    if node.target == aten.einsum.default:
        return len(node.args[1]) == 1  # type: ignore[arg-type]  # it only permutes, or takes a diagonal
    return any(r.alias_info is not None and not r.alias_info.is_write for r in node.target._schema.returns)


def copies(node: fx.Node) -> bool:
    """Whether an operation that returns its argument where it can has to write it anew, for its strides."""
    if node.target not in (aten.contiguous.default, aten.reshape.default):
        return False
    source = node.args[0].meta.get("val") if isinstance(node.args[0], fx.Node) else None
    wanted = node.kwargs.get("memory_format") or torch.contiguous_format
    return isinstance(source, torch.Tensor) and not source.is_contiguous(memory_format=wanted)  # type: ignore[arg-type]
