"""The stage that hands out the samples: by role, as the model takes them."""

from __future__ import annotations

from dataclasses import replace

from advisor.data.images.image_folder import ImageFolder
from advisor.data.samples import Samples
from advisor.graph import PartitionGraph
from advisor.planning.preparing.data_roles import converted, divided, made
from advisor.planning.stages import Prepared, Source, Step, Traced, step
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
    inputs = traced.inputs
    files = {"data": inputs.data, "train_data": inputs.train_data, "aux": inputs.aux}
    source = Source(
        samples.description, samples.fingerprint, len(samples), samples.y is not None,
        {name: _file_hash(found) for name, found in files.items()},
    )  # fmt: skip
    without = replace(traced, inputs=replace(inputs, data=None, train_data=None, aux=None))
    return Prepared(
        traced=without, graph=graph, source=source, roles=roles, notes=(*notes, *roles.notes), seconds=now.seconds
    )


def _file_hash(data: Samples | ImageFolder | None) -> str | None:
    """SHA-256 of the bytes that samples were read from; None for a folder, a built-in name, or what is in memory."""
    return data.sha256 or None if isinstance(data, Samples) else None


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
