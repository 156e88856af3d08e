"""The graphs that torch compiled from a TorchScript archive, held to a list of operators before one of them runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from advisor.loading.allowed_operators import is_plain
from advisor.loading.content import short
from advisor.loading.torchscript.functions import PRIM

if TYPE_CHECKING:
    import torch

STRUCTURE = frozenset(
    {"Constant", "GetAttr", "SetAttr", "CallMethod", "CallFunction", "TupleConstruct", "TupleUnpack", "TupleIndex",
     "TupleSlice", "ListConstruct", "ListUnpack", "DictConstruct", "If", "Loop", "unchecked_cast"}
)  # fmt: skip


def graph_dangers(script: torch.jit.ScriptModule) -> Iterator[str]:
    """Operators outside the list in any method of any submodule, the functions that they call inlined."""
    seen: set[str] = set()
    for module in script.modules():
        inner: Any = module._c
        kind = inner._type().qualified_name()
        if kind in seen:
            continue
        seen.add(kind)
        for function in (*_methods(inner), *inner._get_forward_hooks(), *inner._get_forward_pre_hooks()):
            yield from _kinds(function.graph)
    for function in _methods(script._c):
        yield from _kinds(function.inlined_graph)


def _methods(module: Any) -> list[Any]:
    return [module._get_method(name) for name in module._method_names()]


def _kinds(block: Any) -> Iterator[str]:
    for node in block.nodes():
        space, _, name = node.kind().partition("::")
        if not (name in STRUCTURE or name in PRIM if space == "prim" else is_plain(space, name)):
            yield f"it would call {short(node.kind())}"
        for inner in node.blocks():
            yield from _kinds(inner)
