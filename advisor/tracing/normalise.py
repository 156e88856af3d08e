"""The exported graph, brought into the one form that the rest relies on: no guards, nothing in place."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import fx

from advisor.operations.dag import flat_results
from advisor.operations.symbols import is_symbolic
from advisor.operations.views import is_mutation, is_view
from advisor.tracing.differentiable import make_differentiable
from advisor.tracing.only_shapes import free_of_models
from advisor.tracing.state import writes_of

aten = torch.ops.aten
_DROPPED = ("_guards_fn", "_assert", "sym_constrain", "_assert_scalar", "_assert_tensor_metadata", "_assert_async")
_SCATTERS: dict[Any, Any] = {
    aten.slice.Tensor: aten.slice_scatter.default,
    aten.select.int: aten.select_scatter.default,
}
"""Views whose write can be undone node by node: the view's place in its base is filled instead."""


class NotNodewiseError(Exception):
    """Something that cannot be rewritten node by node: torch has to functionalise the whole program first."""


def normalise(module: fx.GraphModule) -> list[str]:
    """Normalise in place.

    Returns:
        The buffers that the program writes to, described; in the normalised graph nothing does.

    Raises:
        NotNodewiseError: when only torch's own functionalisation can make an in-place write or an autocast region
            explicit.
    """
    graph = module.graph
    if any("_functorch" in str(getattr(node.target, "__module__", "")) for node in graph.nodes):
        raise NotNodewiseError("a torch.func transform")
    _inline_grad_regions(module)
    writes = writes_of(graph)
    drop_checks(graph)
    free_of_models(graph)
    _fold_mutated_constants(module)
    _make_functional(graph)
    make_differentiable(graph)
    graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    module.recompile()
    return writes


def _inline_grad_regions(module: fx.GraphModule) -> None:
    """`with torch.no_grad():` in a forward is a region of its own in the exported graph; its values are the same."""
    graph = module.graph
    count = 0
    while region := next((n for n in graph.nodes if _is_region(n)), None):
        at = _body_position(region)
        arguments: Any = region.args
        body: Any = module.get_submodule(arguments[at].target)
        copied = dict(zip([n for n in body.graph.nodes if n.op == "placeholder"], arguments[at + 1 :], strict=True))
        with graph.inserting_before(region):
            for node in body.graph.nodes:
                if node.op == "get_attr":
                    name, count = f"_region_{count}", count + 1
                    setattr(module, name, getattr(body, node.target))
                    copied[node] = graph.get_attr(name)
                    copied[node].meta = dict(node.meta)
                elif node.op == "call_function":
                    copied[node] = graph.node_copy(node, lambda n: copied[n])  # noqa: B023 (called at once)
        _unpack(graph, region, [copied[r] for r in flat_results(body.graph)])


def _is_region(node: fx.Node) -> bool:
    return node.op == "call_function" and "wrap_with_" in str(node.target)


def _body_position(region: fx.Node) -> int:
    """Where among a region's arguments its body stands.

    Raises:
        NotNodewiseError: for a region that switches autocast on, which changes values.
    """
    if "autocast" not in str(region.target):
        return 1
    if region.args[2]:
        raise NotNodewiseError("an autocast region")
    return 4


def _unpack(graph: fx.Graph, region: fx.Node, results: list[fx.Node]) -> None:
    for user in list(region.users):
        position: Any = user.args[1]
        user.replace_all_uses_with(results[position])
        graph.erase_node(user)
    graph.erase_node(region)


def drop_checks(graph: fx.Graph) -> None:
    """Leave out what only asserts."""
    for node in reversed(list(graph.nodes)):
        name = str(getattr(node.target, "__name__", node.target))
        if node.op in ("call_function", "call_module") and not node.users and name.startswith(_DROPPED):
            graph.erase_node(node)


def _fold_mutated_constants(module: fx.GraphModule) -> None:
    """Compute once what depends on no input and is written in place (Swin builds its attention mask so)."""
    graph, constant = module.graph, set()
    for node in graph.nodes:
        static = not is_symbolic(node) and node.op == "call_function" and not _is_random(node)
        if (static or _is_literal(node)) and all(source in constant for source in node.all_input_nodes):
            constant.add(node)
    if not any(is_mutation(node) for node in constant):
        return
    values: dict[fx.Node, Any] = {}
    for node in [n for n in graph.nodes if n in constant]:
        if node.op == "get_attr":
            values[node] = attrgetter(node.target)(module)
            continue
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


def _is_literal(node: fx.Node) -> bool:
    """Whether a node is a number from a forward, which newer versions of torch keep as a tensor beside the weights."""
    return (
        node.op == "get_attr" and bool(node.users) and all(u.target is aten.lift_fresh_copy.default for u in node.users)
    )


def _is_random(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags


def _make_functional(graph: fx.Graph) -> None:
    order: dict[fx.Node, float] = {node: i for i, node in enumerate(graph.nodes)}
    for node in [n for n in graph.nodes if is_mutation(n)]:
        written = node.args[0]
        twin = functional_twin(node.target)
        if twin is None or not isinstance(written, fx.Node) or _promotes(node):
            raise NotNodewiseError(f"an in-place write without a functional twin ({node.target})")
        chain = _written_through(written, _seen_later(node, written, order), str(node.target))
        node.target = twin
        _redirect(written, node, order)
        for view in chain:
            node = _scattered(graph, view, node, order)


def _seen_later(node: fx.Node, written: fx.Node, order: dict[fx.Node, float]) -> set[fx.Node]:
    """Other names of the memory that `node` writes to which something reads afterwards."""
    relatives = _relatives(written, order, order[node]) - {written}
    return {r for r in relatives if any(order[user] > order[node] for user in r.users)}


def _relatives(node: fx.Node, order: dict[fx.Node, float], before: float) -> set[fx.Node]:
    """All nodes that may share memory with `node`, itself included: along views made so far, up and down."""
    found, stack = set(), [node]
    while stack:
        current = stack.pop()
        if current not in found and order[current] < before:
            found.add(current)
            stack.extend(user for user in current.users if is_view(user) and not is_mutation(user))
            if is_view(current) and not is_mutation(current):
                stack.extend(source for source in current.all_input_nodes if not is_symbolic(source))
    return found


def _written_through(written: fx.Node, seen: set[fx.Node], name: str) -> list[fx.Node]:
    """The views, innermost first, whose base has to be rebuilt so that all that is seen later sees the write."""
    chain: list[fx.Node] = []
    while seen:
        base = written.args[0] if written.target in _SCATTERS else None
        if not isinstance(base, fx.Node):
            raise NotNodewiseError(f"an in-place write that is seen elsewhere ({name})")
        chain.append(written)
        seen, written = seen - {base}, base
    return chain


def _scattered(graph: fx.Graph, view: fx.Node, value: fx.Node, order: dict[fx.Node, float]) -> fx.Node:
    """The base of a view with `value` written into the view's place; later reads of the base go there."""
    base = view.args[0]
    assert isinstance(base, fx.Node)
    with graph.inserting_after(value):
        whole = graph.call_function(_SCATTERS[view.target], (base, value, *view.args[1:]), dict(view.kwargs))
    whole.meta = {**value.meta, "val": base.meta["val"]}
    order[whole] = order[value] + 1 / 2**20  # after the write, before what followed it
    _redirect(base, whole, order)
    return whole


def _redirect(old: fx.Node, new: fx.Node, order: dict[fx.Node, float]) -> None:
    for user in [user for user in old.users if order[user] > order[new]]:
        user.replace_input_with(old, new)


def _promotes(node: fx.Node) -> bool:
    """Whether the functional twin would return another dtype: an in-place operation keeps that of what it writes."""
    if node.target is aten.copy_.default:
        return False  # what is copied is cast
    written, *others = [v for v in (n.meta.get("val") for n in node.all_input_nodes) if isinstance(v, torch.Tensor)]
    return any(torch.promote_types(written.dtype, other.dtype) != written.dtype for other in others)


def functional_twin(target: Any) -> Any:
    """`aten.add_.Tensor` -> `aten.add.Tensor`; None where torch has no such operator."""
    packet = getattr(aten, target._schema.name.removeprefix("aten::").removesuffix("_"), None)
    twin = getattr(packet, target._overloadname, None)
    return None if twin is None or twin._schema.is_mutable else twin
