"""The exported graph, brought into the one form that the rest relies on: no guards, nothing in place."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import fx

from advisor.symbols import emit, expression, is_symbolic

aten = torch.ops.aten
_DROPPED = ("_guards_fn", "_assert", "sym_constrain", "_assert_scalar", "_assert_tensor_metadata", "_assert_async")
_FACTORIES = {
    aten.new_zeros.default: 0,
    aten.zeros_like.default: 0,
    aten.new_ones.default: 1,
    aten.ones_like.default: 1,
}


class AliasedMutation(Exception):
    """An in-place write through a view that others still read: it has no functional twin node by node."""


def normalise(module: fx.GraphModule) -> fx.GraphModule:
    """Normalise in place.

    Raises:
        AliasedMutation: when only whole-program functionalisation can remove an in-place write.
    """
    graph = module.graph
    _drop_checks(graph)
    _free_factories(graph)
    _fold_mutated_constants(module)
    _make_functional(graph)
    graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    module.recompile()
    return module


def _drop_checks(graph: fx.Graph) -> None:
    for node in reversed(list(graph.nodes)):
        name = str(getattr(node.target, "__name__", node.target))
        if node.op in ("call_function", "call_module") and not node.users and name.startswith(_DROPPED):
            graph.erase_node(node)


def _free_factories(graph: fx.Graph) -> None:
    """`new_zeros(x, …)` reads only x's dtype and device: make it a plain factory, so that x need not cross for it."""
    batch = next(
        (n for n in graph.nodes if n.op == "placeholder" and isinstance(n.meta.get("val"), torch.Tensor)), None
    )
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node.target not in _FACTORIES or not isinstance(value, torch.Tensor) or batch is None:
            continue
        with graph.inserting_before(node):
            sizes = [_size(graph, batch, s) for s in value.shape]
            arguments = {"dtype": value.dtype, "device": value.device}
            free = graph.call_function(aten.full.default, (sizes, _FACTORIES[node.target]), arguments)
        free.meta = dict(node.meta)
        node.replace_all_uses_with(free)
        graph.erase_node(node)


def _size(graph: fx.Graph, batch: fx.Node, size: Any) -> Any:
    if isinstance(size, int):
        return size
    rows = graph.call_function(aten.sym_size.int, (batch, 0))
    rows.meta["val"] = batch.meta["val"].shape[0]
    node = emit(graph, expression(size), rows)
    if isinstance(node, fx.Node):
        node.meta.setdefault("val", size)
    return node


def is_mutation(node: fx.Node) -> bool:
    """Whether the operator writes to one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def is_view(node: fx.Node) -> bool:
    """Whether the output may share memory with an argument."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.op == "call_function" and not is_symbolic(node)
    if node.target is aten.dropout.default:  # in eval mode it returns its argument, which its schema does not say
        return True
    return any(r.alias_info is not None and not r.alias_info.is_write for r in node.target._schema.returns)


def _fold_mutated_constants(module: fx.GraphModule) -> None:
    """Compute once what depends on no input and is written in place (Swin builds its attention mask so)."""
    graph, constant = module.graph, set()
    for node in graph.nodes:
        static = not is_symbolic(node) and node.op == "call_function"
        if static and all(source in constant for source in node.all_input_nodes):
            constant.add(node)
    if not any(is_mutation(node) for node in constant):
        return
    values: dict[fx.Node, Any] = {}
    for node in [n for n in graph.nodes if n in constant]:
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: values[n])
        values[node] = node.target(*args, **kwargs)
    for number, node in enumerate([n for n in values if any(user not in constant for user in n.users)]):
        name = f"_constant_{number}"
        module.register_buffer(name, values[node].clone())
        with graph.inserting_before(node):
            folded = graph.get_attr(name)
        folded.meta = {"val": node.meta["val"]}
        node.replace_all_uses_with(folded, delete_user_cb=lambda user: user not in constant)
    for node in reversed(list(values)):
        graph.erase_node(node)


def _make_functional(graph: fx.Graph) -> None:
    order = {node: i for i, node in enumerate(graph.nodes)}
    family = _alias_families(graph)
    for node in [n for n in graph.nodes if is_mutation(n)]:
        written = node.args[0]
        twin = functional_twin(node.target)
        if twin is None or not isinstance(written, fx.Node):
            raise AliasedMutation(str(node.target))
        for relative in family[written] - {written, node}:
            if any(order[user] > order[node] for user in relative.users if user not in family[node]):
                raise AliasedMutation(str(node.target))
        later = [user for user in written.users if order[user] > order[node]]
        node.target = twin
        for user in later:
            user.replace_input_with(written, node)


def _alias_families(graph: fx.Graph) -> dict[fx.Node, set[fx.Node]]:
    """Nodes that may share memory. The result of a write belongs to what it wrote, but later reads go to the twin."""
    family: dict[fx.Node, set[fx.Node]] = defaultdict(set)
    for node in graph.nodes:
        family[node] = {node}
        if node.op == "call_function" and is_view(node) and not is_mutation(node):
            for source in node.all_input_nodes:
                family[source].add(node)
                family[node] = family[source]
    return family


def functional_twin(target: Any) -> Any:
    """`aten.add_.Tensor` -> `aten.add.Tensor`; None where torch has no such operator."""
    packet = getattr(aten, target._schema.name.removeprefix("aten::").removesuffix("_"), None)
    twin = getattr(packet, target._overloadname, None)
    return None if twin is None or twin._schema.is_mutable else twin
