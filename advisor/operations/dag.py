"""The traced graph as a DAG: what depends on the input, what is alive after each step, what lies before a cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from advisor.operations.symbols import is_symbolic


def flat_results(graph: fx.Graph) -> tuple[Any, ...]:
    """What the graph returns: nodes, or constants; the condition of a loop returns one without a tuple."""
    returned: Any = graph.output_node().args[0]
    return tuple(returned) if isinstance(returned, tuple | list) else (returned,)


def data_nodes(graph: fx.Graph, results: Sequence[Any]) -> tuple[fx.Node, ...]:
    """Nodes whose value depends on the input's values and that some result needs, in execution order."""
    ahead: set[fx.Node] = set()
    for node in graph.nodes:
        computed = node.op == "call_function" and not is_symbolic(node)
        if node.op == "placeholder" or (computed and any(source in ahead for source in node.all_input_nodes)):
            ahead.add(node)
    live: set[fx.Node] = {r for r in results if isinstance(r, fx.Node)}
    for node in reversed(graph.nodes):
        if node in live and not is_symbolic(node):
            live.update(node.all_input_nodes)
    return tuple(n for n in graph.nodes if n in ahead and n in live)


def live_sets(order: Sequence[fx.Node], results: Sequence[Any], most: int) -> list[tuple[fx.Node, ...]]:
    """What is alive after each step of a topological order, where at most `most` values are: computed, and read later.

    A node that is alive alone lies on every path from the inputs to the results and is comparable to every other one,
    so that any topological order finds the same ones. Takes time linear in the edges.
    """
    known, returned = set(order), {r for r in results if isinstance(r, fx.Node)}
    left = {node: sum(user in known for user in node.users) + (node in returned) for node in order}
    live = dict.fromkeys(node for node in order if node.op == "placeholder")
    found = []
    for node in order:
        live[node] = None
        for source in node.all_input_nodes:
            if source in known:
                left[source] -= 1
                if not left[source]:
                    del live[source]
        if len(live) <= most:
            found.append(tuple(live))
    return found


def levels(activation_nodes: Sequence[Sequence[fx.Node]]) -> dict[fx.Node, int]:
    """For each node, the index of the first cut whose edge half needs it."""
    level: dict[fx.Node, int] = {}
    for index, nodes in enumerate(activation_nodes):
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if node not in level:
                level[node] = index
                stack.extend(node.all_input_nodes)
    return level
