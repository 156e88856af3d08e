"""From what was read to samples by role: converted to what the model takes, labels understood, divided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from advisor.data.conversion import fitted
from advisor.data.images.image_folder import ImageFolder
from advisor.data.normalization import check_not_yet_normalised
from advisor.data.roles import Role, Roles, drawn, joined, shares
from advisor.data.samples import LIMIT, Samples, limited, read
from advisor.data.synthetic.synthesis import is_image, synthesise
from advisor.data.tasks.chosen_output import outputs_of
from advisor.data.tasks.meaning import understood
from advisor.graph import PartitionGraph
from advisor.panel import panel_size
from advisor.planning.preparing.wanted_defenses import wanted_defenses
from advisor.planning.stages import Inputs
from advisor.progress import Progress
from advisor.request import Request
from advisor.request_parts import DataPart
from advisor.value_range import UNIT, ValueRange

SYNTHETIC = "synthetic"
"""`--aux synthetic`: the attacker makes its samples up."""
MADE_UP = 512
MOST_LEARNT, LEARNT_BYTES = 16_384, 2**30
"""Samples that a fit or an attacker takes of a source of its own, at most; fewer where they are large."""
MOST_TESTED, FEWEST_TESTED = 1000, 100
"""Samples beyond those that are divided, which are kept for the final accuracy; fewer would tell little."""
SYNTHETIC_SMALL, SYNTHETIC_LARGE, LARGE_SIDE = 256, 64, 64


def trains(defenses: str) -> bool:
    """Whether one of these defenses is fitted, so that samples to train on are set apart.

    Args:
        defenses: sets or names, separated by commas, as in `--defenses`.
    """
    return bool(wanted_defenses(defenses).methods)


def sources(wanted: DataPart, seed: int) -> dict[str, Samples | ImageFolder | None]:
    """What `data`, `train_data` and `aux` hold, as it is; None where nothing is to be read.

    Of a file that holds a part to test on and one to learn from, `data` takes the first, the others the second.

    Raises:
        DataError: one line with the next step, for anything that cannot be used.
    """
    labels = not wanted.no_labels
    found: dict[str, Samples | ImageFolder | None] = {"data": None, "train_data": None, "aux": None}
    if wanted.data is not None:
        most = LIMIT if _is_folder(wanted.data) else LIMIT + MOST_TESTED
        found["data"] = read(wanted.data, limit=most, seed=seed, labels=labels)
    for name, source in (("train_data", wanted.train_data), ("aux", wanted.aux)):
        if source is not None and not _is(source, SYNTHETIC):
            most = LIMIT if _is_folder(source) else MOST_LEARNT
            found[name] = read(source, limit=most, seed=seed, labels=labels, part="train")
    return found


def converted(
    found: Samples | ImageFolder, graph: PartitionGraph, wanted: DataPart, seed: int = 0
) -> tuple[PartitionGraph, Samples]:
    """Samples as the model takes them, labels as its output is judged, and the graph that knows its task.

    Raises:
        DataError: when they cannot be brought to the model's inputs, or labels not to its outputs.
    """
    if isinstance(found, Samples):
        size = 4 * sum(torch.Size(spec.shape).numel() for spec in graph.inputs.tensors)
        found = limited(found, max(LIMIT, min(MOST_LEARNT, LEARNT_BYTES // max(1, size))), seed)
    samples = fitted(found, graph, wanted.resize)
    if graph.inputs.normalization is not None:
        check_not_yet_normalised(samples.x)
    if graph.task is None:
        return understood(graph, samples, wanted.task, wanted.scores)
    return understood(graph, samples, graph.task.kind, _judged_output(graph))


def _judged_output(graph: PartitionGraph) -> int | None:
    """Number of the output that the graph's task is about, so that a second source is judged by the same."""
    assert graph.task is not None
    return next((o.index for o in outputs_of(graph) if o.position == graph.task.position), None)


def made(graph: PartitionGraph, wanted: DataPart, seed: int, progress: Progress) -> tuple[PartitionGraph, Samples]:
    """Synthetic samples, where no data is given, and the graph that knows its task."""
    sides = max(max(spec.shape[-2:], default=1) for spec in graph.inputs.tensors)
    count = SYNTHETIC_SMALL if sides <= LARGE_SIDE else SYNTHETIC_LARGE
    samples = synthesise(graph, panel_size(graph, count), seed, progress)
    return understood(graph, samples, wanted.task, wanted.scores, made=True)


def divided(request: Request, graph: PartitionGraph, samples: Samples, inputs: Inputs) -> Roles:
    """Samples by role: those of `--data` divided by their hash, others from sources of their own.

    Args:
        request: what is wanted; whether a defense is trained says whether samples are set apart for it.
        graph: the traced model, which knows its task.
        samples: of `--data`, converted, or synthetic ones.
        inputs: with the sources of their own, as they were read.

    Raises:
        DataError: where a role has too few samples.
    """
    wanted, seed = request.data, request.search.seed
    own = _own(wanted, graph, samples, inputs, seed)
    among = shares(trains(request.search.defenses), list(own))
    kept, rest = _set_apart(samples, seed)
    if rest is not None and "test" not in among:
        own["test"] = rest
    roles = joined(drawn(kept, seed, among), own)
    return Roles(roles.samples, (*roles.notes, f"Samples by role: {roles}; none plays two."))


def _own(wanted: DataPart, graph: PartitionGraph, samples: Samples, inputs: Inputs, seed: int) -> dict[Role, Samples]:
    """Samples that were named apart, converted; of one source for both, half are for either."""
    if inputs.train_data is not None and inputs.aux is not None and _is(wanted.aux, wanted.train_data):
        both = converted(inputs.train_data, graph, wanted, seed)[1]
        return dict(drawn(both, seed, {"training": 0.5, "attacker": 0.5}).samples)
    own: dict[Role, Samples] = {}
    if inputs.train_data is not None:
        own["training"] = converted(inputs.train_data, graph, wanted, seed)[1]
    if inputs.aux is not None:
        own["attacker"] = converted(inputs.aux, graph, wanted, seed)[1]
    elif _is(wanted.aux, SYNTHETIC):
        values = ValueRange.of(samples.x) if is_image(graph.inputs.tensors[0]) else UNIT
        own["attacker"] = synthesise(graph, panel_size(graph, MADE_UP), seed + 2, values=values)
    return own


def _set_apart(samples: Samples, seed: int) -> tuple[Samples, Samples | None]:
    """The samples that are divided, and those beyond them for the test part; None where these would be few."""
    count = len(samples)
    if count <= LIMIT:
        return samples, None
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    kept, rest = (samples.take(part.sort().values) for part in (order[:LIMIT], order[LIMIT:]))
    return kept, replace(rest, notes=()) if len(rest) >= FEWEST_TESTED else None


def _is(given: Any, name: Any) -> bool:
    """Whether a path or name was given, and this one."""
    return isinstance(given, str | Path) and isinstance(name, str | Path) and str(given) == str(name)


def _is_folder(given: Any) -> bool:
    """A folder of images, which are decoded one by one."""
    return isinstance(given, str | Path) and Path(given).is_dir()
