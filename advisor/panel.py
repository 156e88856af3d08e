"""How many samples one forward pass takes at once."""

from __future__ import annotations

from advisor.cuts import Cut
from advisor.graph import PartitionGraph
from advisor.support import memory_limit

PANEL_BYTES = 512 * 2**20
"""Memory for the largest tensor of the forward pass, all samples together."""


HELD = 8
"""Part of the memory that this may take at most."""


PANEL_SAMPLES = 1500


def panel_size(graph: PartitionGraph, available: int, cut: Cut | None = None) -> int:
    """How many samples one forward pass takes at once: bounded by memory and by what the estimators can use.

    Where they are for one cut alone, only its activation has to fit: a pass to there is made in parts.
    """
    fitting = rows_in_memory(graph)
    if cut is not None:
        fitting = max(fitting, int(memory_limit.at_most(PANEL_BYTES, HELD) / max(1, cut.bytes)))
    return max(2, min(available, PANEL_SAMPLES, fitting))


def rows_in_memory(graph: PartitionGraph) -> int:
    """How many samples have their largest tensor within `PANEL_BYTES`."""
    largest = max(graph.value_bytes(node) for node in graph.data_nodes) or 1
    return int(memory_limit.at_most(PANEL_BYTES, HELD) / largest)
