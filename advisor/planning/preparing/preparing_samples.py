"""The stage that hands out the samples: by role, as the model takes them."""

from __future__ import annotations

from advisor.data.samples import Samples
from advisor.graph import PartitionGraph
from advisor.planning.preparing.data_roles import converted, divided, made
from advisor.planning.stages import Prepared, Step, Traced, step
from advisor.progress import RunListener, about
from advisor.request import Request


def prepare(request: Request, traced: Traced, progress: RunListener | None = None) -> Prepared:
    """The samples by role, as the model takes them; synthetic ones where none are given.

    Raises:
        DataError: where they do not fit the model, or are too few to be divided.
    """
    with step("data", progress) as now:
        graph, samples, notes = _converted(request, traced, now)
        roles = divided(request, graph, samples, traced.inputs)
    return Prepared(
        traced=traced, graph=graph, samples=samples, roles=roles, notes=(*notes, *roles.notes), seconds=now.seconds
    )


def samples_of(
    request: Request, traced: Traced, progress: RunListener | None = None
) -> tuple[PartitionGraph, Samples, tuple[str, ...]]:
    """The samples of `--data` undivided, the graph that knows its task, and what was assumed."""
    with step("data", progress) as now:
        return _converted(request, traced, now)


def _converted(request: Request, traced: Traced, now: Step) -> tuple[PartitionGraph, Samples, tuple[str, ...]]:
    found, wanted, seed = traced.inputs.data, request.data, request.search.seed
    if found is not None:
        graph, samples = converted(found, traced.graph, wanted, seed)
        return graph, samples, samples.notes
    graph, samples = made(traced.graph, wanted, seed, about(now, "synthesis"))
    return graph, samples, (f"Leakage and accuracy were measured on {samples.description}.", *samples.notes)
