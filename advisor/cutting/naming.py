"""Names for cuts: the module path the user wrote, `path/operation` for what a forward wrote itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import fx

CUT_NAME = "cut_name"
"""Key of a node's `meta` under which a name of its own stands: that of a variant's payload."""


class Names:
    """Names every tensor of a graph, in order.

    A call of a module that calls no other carries the module's path at its last operation; other operations carry
    `path/operation`. Repeated names count up: `layer2.1.relu#2`.
    """

    def __init__(self, nodes: Sequence[fx.Node]) -> None:
        stacks = {node: _stack(node) for node in nodes}
        self._last: dict[str, fx.Node] = {}
        outer: set[str] = set()
        for node, stack in stacks.items():
            outer.update(path for _, path in stack[:-1])
            for key, _ in stack:
                self._last[key] = node
        count = Counter(("input", "output"))  # the names of the ends
        self._names: dict[fx.Node, str] = {}
        self._stacks = stacks
        self._outer = outer
        for node in nodes:
            base = self._base(node)
            count[base] += 1
            self._names[node] = base if count[base] == 1 else f"{base}#{count[base]}"

    def __getitem__(self, node: fx.Node) -> str:
        return self._names[node]

    def closes(self, node: fx.Node, leaves: bool = False) -> str:
        """Path of the innermost module with children, or of any module, whose call ends at this node, or ""."""
        for key, path in reversed(self._stacks.get(node, [])):
            if path and (leaves or path in self._outer) and self._last[key] is node:
                return path
        return ""

    def _base(self, node: fx.Node) -> str:
        if CUT_NAME in node.meta:
            return str(node.meta[CUT_NAME])
        stack = self._stacks[node]
        key, path = stack[-1] if stack else ("", "")
        if path and path not in self._outer and self._last[key] is node:
            return path
        return f"{path}/{operation(node)}" if path else operation(node)


def operation(node: fx.Node) -> str:
    """The operator's plain name: `add` for `aten.add_.Tensor`."""
    if isinstance(node.target, torch._ops.OpOverload):
        plain = str(node.target._schema.name).split("::")[-1].strip("_")
        return {"to_copy": "to", "unsafe_view": "view"}.get(plain, plain)
    return str(getattr(node.target, "__name__", node.target))


def _stack(node: fx.Node) -> list[tuple[str, str]]:
    """(key of the call, module path), outermost first; from the nearest parameter's owner where torch kept no stack."""
    stack = node.meta.get("nn_module_stack") or {}
    entries = [(key, path) for key, (path, _) in stack.items() if not key.startswith("_empty")]
    return entries or _owner_stack(node)


def _owner_stack(node: fx.Node) -> list[tuple[str, str]]:
    for source in node.all_input_nodes:
        if source.op == "get_attr" and "." in str(source.target):
            path = str(source.target).rpartition(".")[0]
            return [("", ""), (f"{path}@{node.name}", path)]
    return [("", "")]
