"""The traced graph as a DAG: what depends on the input, where one tensor is all that flows, what lies before a cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from advisor.symbols import is_symbolic


def flat_results(graph: fx.Graph) -> tuple[Any, ...]:
    """What the graph returns: nodes, or constants."""
    returned: Any = graph.output_node().args[0]
    return tuple(returned)


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


def bottlenecks(nodes: Sequence[fx.Node], results: Sequence[Any]) -> list[fx.Node]:
    """Nodes on every path from the inputs to the results: no edge of the DAG jumps over them in topological order.

    Such a node is comparable to every other one (all that lies on some path is before or behind it), so that any
    topological order finds the same ones, in time linear in the edges.
    """
    position = {node: i for i, node in enumerate(nodes)}
    returned = {r for r in results if isinstance(r, fx.Node)}
    reach = max((i for node, i in position.items() if node.op == "placeholder"), default=-1)
    found = []
    for i, node in enumerate(nodes):
        if reach <= i:
            found.append(node)
        last = max((position[user] for user in node.users if user in position), default=i)
        reach = max(reach, len(nodes) if node in returned else last)
    return found


def levels(crossings: Sequence[Sequence[fx.Node]]) -> dict[fx.Node, int]:
    """For each node, the index of the first cut whose edge half needs it."""
    level: dict[fx.Node, int] = {}
    for index, nodes in enumerate(crossings):
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if node not in level:
                level[node] = index
                stack.extend(node.all_input_nodes)
    return level
