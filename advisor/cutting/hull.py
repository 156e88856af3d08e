"""The lower convex hull of bytes sent against edge work over all ways to divide a DAG, by parametric min-cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
from networkx.algorithms.flow import preflow_push

_SOURCE, _SINK = "source", "sink"


@dataclass(frozen=True)
class Division:
    """A DAG to divide, its nodes numbered in a topological order.

    Attributes:
        users: for each node, those that read it, all numbered higher.
        returned: nodes that the model returns: they cross wherever they are computed on the edge.
        sizes: bytes of each node's value; None where it may not cross.
        work: of each node, above 0 but for inputs.
        inputs: how many nodes, the first ones, are on the edge in any case.
    """

    users: Sequence[Sequence[int]]
    returned: frozenset[int]
    sizes: Sequence[int | None]
    work: Sequence[int]
    inputs: int

    def bytes(self, edge: frozenset[int]) -> int:
        """What is sent when these nodes are on the edge; a value that several nodes read is sent once."""
        crossing = (i for i in edge if i in self.returned or any(user not in edge for user in self.users[i]))
        return sum(self.sizes[i] or 0 for i in crossing)

    def amount(self, edge: frozenset[int]) -> int:
        """Work done on the edge."""
        return sum(self.work[i] for i in edge)


def hull(division: Division) -> list[frozenset[int]]:
    """The sets of edge nodes at the corners of the lower convex hull, each inside the next.

    Minimising bytes + λ · work is a min-cut (a value is paid for once, where it leaves the source's side; a node drags
    all that it reads along). Between two corners the λ of the line through them finds the corner that lies lowest below
    it, or none (Eisner and Severance 1976); minimisers of such a family lie inside each other, so that each search is
    left with the nodes between two known corners.

    Returns:
        Corners from all inputs to all nodes, both included.
    """
    first, last = frozenset(range(division.inputs)), frozenset(range(len(division.users)))
    corners, todo = [first], [(first, last)]
    while todo:
        low, high = todo.pop()
        found = _below(division, low, high)
        if found is None:
            corners.append(high)
        else:
            todo += [(found, high), (low, found)]
    return corners


def _below(division: Division, low: frozenset[int], high: frozenset[int]) -> frozenset[int] | None:
    """The corner farthest below the line through two others, None where none is."""
    if len(high) - len(low) < 2:
        return None
    run = division.amount(high) - division.amount(low)
    fall = division.bytes(low) - division.bytes(high)
    network = _network(division, low, high, run, fall)
    if not (network.has_node(_SOURCE) and network.has_node(_SINK)):
        return None
    _, (edge, _) = nx.minimum_cut(network, _SOURCE, _SINK, flow_func=preflow_push)
    found = low | {i for i in edge if isinstance(i, int)}

    def height(nodes: frozenset[int]) -> int:
        return run * division.bytes(nodes) + fall * division.amount(nodes)

    return found if low < found < high and height(found) < height(low) else None


def _network(division: Division, low: frozenset[int], high: frozenset[int], run: int, fall: int) -> nx.DiGraph:
    """Source's side = edge; what two corners have in common is contracted. Edges without capacity are infinite."""
    network, inner = nx.DiGraph(), high - low
    for i in high:
        readers = [user for user in division.users[i] if user in inner]
        surely_read = i in division.returned or any(user not in high for user in division.users[i])
        size = division.sizes[i]
        price = None if size is None else run * size
        if i in inner:
            network.add_edges_from((user, i) for user in readers)
            worth = fall * division.work[i]
            if worth < 0:
                _add(network, _SOURCE, i, -worth)
            elif worth > 0:
                _add(network, i, _SINK, worth)
        if i in inner and surely_read:
            _add(network, i, _SINK, price)
        elif readers and not surely_read:
            _add(network, i if i in inner else _SOURCE, (i, "sent"), price)
            network.add_edges_from(((i, "sent"), user) for user in readers)
    return network


def _add(network: nx.DiGraph, start: object, stop: object, capacity: int | None) -> None:
    """One more edge; parallel ones add up, and an infinite one swallows the other."""
    old: Mapping[str, int] = network.get_edge_data(start, stop) or {"capacity": 0}
    network.add_edge(start, stop)
    if capacity is None or "capacity" not in old:
        network[start][stop].pop("capacity", None)
    else:
        network[start][stop]["capacity"] = old["capacity"] + capacity
