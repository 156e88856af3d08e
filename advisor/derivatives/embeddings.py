"""Where integers become vectors: derivatives with respect to discrete inputs start there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph


def is_lookup(node: fx.Node) -> bool:
    """Whether a node looks rows of a table up."""
    schema = getattr(node.target, "_schema", None)
    named = schema is not None and str(schema.name).split("::")[-1] == "embedding"
    return named and isinstance(node.args[0], fx.Node) and isinstance(node.args[1], fx.Node)


def looked_up(graph: PartitionGraph) -> tuple[fx.Node, ...]:
    """Embeddings of what depends on an integer input, in order; rows of a constant table, one or more a sample."""
    data = set(graph.data_nodes)
    found = [n for n in graph.data_nodes if is_lookup(n) and n.args[1] in data and n.args[0] not in data]
    return tuple(node for node in found if graph.spec(node) is not None)
