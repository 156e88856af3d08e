"""Which model a profile is of: operations and shapes, not weights, so that a retrained model keeps its profile."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisor.graph import PartitionGraph


def fingerprint(graph: PartitionGraph) -> str:
    """SHA-256 over the cuts, the operations between them, and the shapes of what they read and write."""
    rows: list[Any] = [[cut.name, [[list(t.shape), t.dtype] for t in cut.tensors]] for cut in graph.cuts]
    pieces = [graph.piece_nodes(i) for i in range(1, len(graph.cuts))]
    rows += [[[str(node.target), _shape(graph, node)] for node in nodes] for nodes in pieces]
    held = sorted((list(t.shape), str(t.dtype)) for t in graph.edge_parameters(len(graph.cuts) - 1).values())
    text = json.dumps([rows, held], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def check(provenance: Mapping[str, Any], graph: PartitionGraph) -> None:
    """Refuse a profile of another model; one that carries no fingerprint (it was put together by hand) passes.

    Raises:
        AdvisorError: when the fingerprints differ.
    """
    known = provenance.get("fingerprint")
    if known is not None and known != fingerprint(graph):
        raise AdvisorError(
            f"The profile is of another model: its fingerprint is {str(known)[:12]}, not {fingerprint(graph)[:12]}.",
            "Profile this model again with `advisor profile`.",
        )


def _shape(graph: PartitionGraph, node: Any) -> Any:
    spec = graph.spec(node, strict=False)
    return None if spec is None else [list(spec.shape), spec.dtype]
