"""The model and the data an advice is about: found where they were, and surely the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from advisor import recorded
from advisor.advice import Advice
from advisor.data.conversion import fitted
from advisor.data.roles import Role, drawn, hashes, shares
from advisor.data.samples import Samples, read
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.loading import load_model
from advisor.plans import Plan

if TYPE_CHECKING:
    from torch import nn

    from advisor.loading.pickles import Trust


def recorded_model(
    advice: Advice | Plan, plan: Plan, given: nn.Module | str | Path | None, arch: str | None, trust: Trust
) -> tuple[Any, dict[str, Any]]:
    """The model to split and what identifies it: its file's path and SHA-256, or why there is none.

    Raises:
        AdvisorError: when there is none, or it is not the one the advice is about.
    """
    said = advice.provenance.get("model") if isinstance(advice, Advice) else None
    known: dict[str, Any] = said if isinstance(said, dict) else {}
    expected = str(known.get("sha256") or "")
    if given is None and plan.graph is not None:
        return plan.graph, _identity(known.get("name") or known.get("path"), expected)
    if given is None and not known.get("name") and not known.get("path"):
        raise AdvisorError("This advice is about a model that was in memory.", "Pass its file with --model.")
    if given is not None and not isinstance(given, str | Path):
        return given, _identity(None, expected)
    if given is None and isinstance(advice, Advice):
        place = recorded.recorded_model(advice, Path())
        source, loaded = place.place, load_model(place.place, arch=arch, trust=trust)
        recorded.check_hash(place, loaded.sha256)
    else:
        source = str(given)
        loaded = load_model(source, arch=arch, trust=trust)
        if expected and loaded.sha256 != expected:
            raise AdvisorError(
                f"{source} is not the model of this advice (another SHA-256).", "Pass the right one with --model."
            )
    return loaded.model, _identity(str(source), loaded.sha256)


def _identity(source: Any, sha256: str) -> dict[str, Any]:
    why = "" if sha256 else "no file holds this model: its weights were in memory, or random"
    return {"source": None if source is None else str(source), "sha256": sha256 or None, "why": why}


def traced_like(plan: Plan, model: Any) -> PartitionGraph:
    """The graph of the model, with the plan's cuts in it.

    Raises:
        AdvisorError: when the model has no such cut, or something else crosses there.
    """
    graph = model if isinstance(model, PartitionGraph) else plan._graph_of(model)
    for cut in plan.cuts:
        found = graph.cut(cut.name)
        if found.tensors != cut.tensors:
            raise AdvisorError(
                f"At {cut.name} this model sends {_told(found.tensors)}, the advice says {_told(cut.tensors)}.",
                "Pass the model of this advice with --model.",
            )
    return graph


def samples_of(advice: Advice | Plan, graph: PartitionGraph, given: Any) -> Samples | str:
    """Samples as the graph takes them: as given, else from the file that an advice records; or why there are none.

    Raises:
        AdvisorError: when given ones do not fit the model.
    """
    if given is not None:
        return fitted(read(given), graph)
    if not isinstance(advice, Advice):
        return "no samples were given"
    held = None if advice.request is None else advice.request.data.data
    if held is not None and not isinstance(held, str | Path):  # given in Python, in this process
        return fitted(read(held), graph)
    try:
        source = recorded.recorded_data(advice, Path())
        return "the advice was made without data" if source is None else fitted(read(source.place), graph)
    except AdvisorError as error:
        return error.problem


def unseen(samples: Samples | str, advice: Advice | Plan, plan: Plan) -> Samples | str:
    """Of samples those that the plan's defense was not fitted to, by the division that the advice records."""
    if isinstance(samples, str) or plan.fitted is None or not isinstance(advice, Advice):
        return samples
    told = None if advice.request is None else advice.request.data
    sources: dict[Role, Any] = {} if told is None else {"training": told.train_data, "attacker": told.aux}
    apart = [role for role, source in sources.items() if source is not None]
    try:
        roles = drawn(samples, int(advice.provenance.get("seed") or 0), shares(True, apart))
    except AdvisorError as error:
        return error.problem
    seen = set(hashes(roles["training"])) if "training" in roles else set()
    return samples.take(torch.tensor([i for i, found in enumerate(hashes(samples)) if found not in seen]))


def _told(tensors: Any) -> str:
    return ", ".join(f"{spec.dtype}{list(spec.shape)}" for spec in tensors)
