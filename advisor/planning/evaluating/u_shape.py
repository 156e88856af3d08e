"""U-shaped plans: head on the edge, body in the cloud, tail on the edge again, so that the cloud sees no output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisor.columns import Profile
from advisor.cuts import Cut
from advisor.errors import CutError
from advisor.estimate import Estimate
from advisor.profilers.halves.half_latency import total

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph


def tail_cut(graph: PartitionGraph, name: str | None) -> Cut | None:
    """The cut after which the edge takes over again, None where none is wanted.

    Raises:
        CutError: when there is no such cut, nothing lies after it, or no cut lies before it.
    """
    if name is None:
        return None
    tail = graph.cut(name)
    inner = graph.cuts[2:-1]
    if tail not in inner:
        raise CutError(
            f"The tail cannot begin at {tail.name!r}: a cut must lie before it, and operations after it.",
            f"Begin it between {inner[0].name} and {inner[-1].name}." if inner else "This model has too few cuts.",
        )
    return tail


def costs(profile: Profile, head: Cut, tail: Cut) -> dict[str, Estimate]:
    """Edge and cloud latency (s) and edge memory (B) when the edge runs head and tail, the cloud what lies between.

    The times of one machine err together: a part keeps the relative interval of what it is a part of. Memory is that of
    the head and what the tail adds to the model before it.
    """
    last = profile.cuts[-1]
    whole, cloud = profile["edge_latency"].at(last), profile["cloud_latency"].at(head)
    after = _share(whole, profile["edge_latency"].at(tail))
    body = _share(cloud, profile["cloud_latency"].at(tail))
    memory = profile["edge_memory"]
    held = memory.at(head).value + memory.at(last).value - memory.at(tail).value
    tail_latency = whole.mapped(lambda seconds: seconds * after, whole.method)
    return {
        "edge_latency": total([profile["edge_latency"].at(head), tail_latency]),
        "cloud_latency": cloud.mapped(lambda seconds: seconds * body, cloud.method),
        "edge_memory": Estimate.exact(held, "B", "estimated", "the head, and what the tail adds"),
    }


def _share(all_of_it: Estimate, other_part: Estimate) -> float:
    return (all_of_it.value - other_part.value) / all_of_it.value if all_of_it.value else 0.0
