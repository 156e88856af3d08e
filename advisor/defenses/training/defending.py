"""`advisor.defend`: fit a trained defense to a cut, and make a variant of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advisor.computing.chosen_device import computing_on
from advisor.computing.regions import on_the_device
from advisor.cuts import Cut
from advisor.data.checks import labels_of
from advisor.data.samples import fingerprint
from advisor.defenses.methods import METHODS
from advisor.defenses.training.base import FitTask, Fitted, TrainedDefense
from advisor.defenses.training.fitted_files import fitted_in, load_variant, plain, save_variant, variant_digest
from advisor.errors import AdvisorError, CutError, DataError
from advisor.graph import PartitionGraph
from advisor.progress import Progress, of_shares, silence
from advisor.support.finite import all_finite
from advisor.support.preserve import left_as_found
from advisor.variant import Variant, check_place, variant_of

FEWEST = 16
"""Samples below which nothing can be fitted."""


def defend(
    graph: PartitionGraph,
    cut: Cut | int | str,
    method: str | TrainedDefense,
    x: Any,
    y: Tensor | None = None,
    val: Any = None,
    tail: Cut | int | str | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Callable[[float], None] | None = None,
    compute: str | None = None,
    start: Variant | None = None,
    **recipe: Any,
) -> Variant:
    """Fit a defense that learns what to send, and return the defended model: a graph again.

    Args:
        graph: the traced model; no variant.
        cut: where the edge stops: a cut, its index or its name.
        method: the name of a method of `METHODS`; or one of your own, itself or as `package.module:Name`.
        x: training samples, a tensor `[N, ...]`, or a tuple or dict of them.
        y: `[N]` labels; None: the defense learns what the undefended model answers (distillation).
        val: samples to stop by; None takes a part of `x`.
        tail: a cut after which the edge takes over again (U-shaped).
        seed: same seed, same answer.
        folder: where a killed fit keeps what it goes on from, and the variant is saved: the same fit is then loaded.
        progress: called with the fraction done, often enough to tell the time that is left.
        compute: "auto", "cpu", "cuda", "cuda:1" or "mps"; None: as of the run under way, else "auto".
        start: what an earlier fit gave at this cut with a payload of the same shape: its weights are gone on from.
        recipe: the method's own settings.

    Raises:
        AdvisorError: on an unknown method or setting, or a fit that does not recover.
        CutError: when nothing can be encoded at this cut, or `start` was fitted at another.
        DataError: when the samples do not fit the model, are too few, or labels are needed and absent.
    """
    chosen, found = _method(method), graph.cut(cut)
    check_place(graph, found)
    task = _task(graph, found, chosen, x, y, val, tail, seed, folder, of_shares(progress), recipe, start)
    if task.folder is not None and (kept := fitted_in(task.folder, task.key)) is not None:
        task.progress(1.0)
        return load_variant(kept, graph)
    with computing_on(compute):
        fitted = _fitted(chosen, task)
    _check_weights(chosen, fitted)
    variant = variant_of(
        graph, found, fitted.encoder, fitted.decoder, plain(_told(chosen, task, fitted)),
        edge_weights=fitted.edge_weights, cloud_weights=fitted.cloud_weights, answers=fitted.answers,
    )  # fmt: skip
    variant = dataclasses.replace(variant, notes=(*variant.notes, *fitted.notes))
    if task.folder is not None and task.checkpoint is not None:
        save_variant(variant, task.folder)
        task.checkpoint.unlink(missing_ok=True)
    return variant


def known_as(
    graph: PartitionGraph, cut: Cut, method: TrainedDefense, x: Any, y: Any = None, val: Any = None,
    tail: str | None = None, seed: int = 0, start: Variant | None = None, **recipe: Any,
) -> str:  # fmt: skip
    """What `recipe["fit"]` of the variant would be that `defend` makes of the same arguments."""
    return _task(graph, cut, method, x, y, val, tail, seed, None, silence, recipe, start).key


@on_the_device
def _fitted(method: TrainedDefense, task: FitTask) -> Fitted:
    with left_as_found(task.graph.module):
        torch.manual_seed(task.seed)
        return method.fit(task)


def fit_key(graph: PartitionGraph, cut: Cut, method: str, facts: Mapping[str, Any]) -> str:
    """Digest of all that decides a fit: the base, where, the method, its recipe, data and seed."""
    told = {"base": graph.digest, "at": cut.name, "method": method, **facts}
    return hashlib.sha256(json.dumps(plain(told), sort_keys=True).encode()).hexdigest()


def _task(
    graph: PartitionGraph, cut: Cut, method: TrainedDefense, x: Any, y: Any, val: Any, tail: Cut | int | str | None,
    seed: int, folder: str | Path | None, progress: Progress, recipe: Mapping[str, Any], start: Variant | None,
) -> FitTask:  # fmt: skip
    settings, end = method.complete(recipe), _tail(graph, cut, tail)
    inputs, validation = graph.flat(x), None if val is None else graph.flat(val)
    if settings.get("epochs", 1) is None:
        settings["epochs"] = method.epochs(settings, len(inputs[0]))
    labels = labels_of(y, len(inputs[0]))
    _check_samples(method, inputs, labels)
    _check_finite(inputs, "training")
    _check_finite(validation or (), "validation")
    if start is not None and (start.base.digest, start.at) != (graph.digest, cut.name):
        other = f"at {start.at!r}" if start.base.digest == graph.digest else "to another model"
        raise CutError(f"What is gone on from was fitted {other}.", "Fit it anew, without a start.")
    task = FitTask(
        graph, cut, inputs, labels, validation, end, seed, None if folder is None else Path(folder),
        progress, settings, start,
    )  # fmt: skip
    try:
        key = fit_key(graph, cut, method.name, _facts(task))
    except (TypeError, ValueError) as error:
        raise AdvisorError(f"The recipe cannot be written down: {error}.", "Pass plain, finite values.") from None
    return dataclasses.replace(task, key=key)


def _facts(task: FitTask) -> dict[str, Any]:
    """What decides a fit beside model, cut and method."""
    facts = {**task.recipe, "seed": task.seed, "data": fingerprint(task.inputs, task.labels)}
    if task.validation is not None:
        facts["validation"] = fingerprint(task.validation, None)
    if task.tail is not None:
        facts["tail"] = task.tail.name
    if task.start is not None:
        facts["start"] = variant_digest(task.start)
    return facts


def _told(method: TrainedDefense, task: FitTask, fitted: Fitted) -> dict[str, Any]:
    told = {
        "method": method.name, **_facts(task), **fitted.recipe, "base": task.graph.digest, "fit": task.key,
        "chain": method.chain,
    }  # fmt: skip
    if fitted.against:
        told["trained_against"] = list(fitted.against)
    return told


def _method(method: str | TrainedDefense) -> TrainedDefense:
    if not isinstance(method, str):
        return method
    return METHODS.find(method)


def _tail(graph: PartitionGraph, head: Cut, tail: Cut | int | str | None) -> Cut | None:
    if tail is None:
        return None
    found = graph.cut(tail)
    if found.index <= head.index:
        raise CutError(f"The tail {found.name!r} does not lie after the head.", "Swap them.")
    return found


def _check_samples(method: TrainedDefense, inputs: tuple[Tensor, ...], y: Tensor | None) -> None:
    count = len(inputs[0])
    if count < FEWEST:
        raise DataError(f"{count} samples are too few to fit a defense.", f"Pass at least {FEWEST}.")
    if y is None and "labels" in method.needs:
        raise DataError(f"The defense {method.name!r} learns from labels, and there are none.", "Pass y.")


def _check_finite(inputs: tuple[Tensor, ...], what: str) -> None:
    for tensor in inputs:
        if not all_finite(tensor):
            raise DataError(f"The {what} samples hold NaN or infinity.", "Leave those samples out.")


def _check_weights(method: TrainedDefense, fitted: Fitted) -> None:
    """NaN passes no check: a fit that came apart is no defense."""
    parts: tuple[nn.Module, nn.Module] = (fitted.encoder, fitted.decoder)
    held = [t for part in parts for t in (*part.parameters(), *part.buffers())]
    held += [*fitted.edge_weights.values(), *fitted.cloud_weights.values()]
    if not all(all_finite(t) for t in held):
        raise AdvisorError(
            f"Fitting {method.name!r} ended in weights that are no numbers.", "Lower its rate, or pass other samples."
        )
