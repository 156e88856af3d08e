"""`advisor.defend`: fit a trained defense to a cut, and make a variant of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advisor.cuts import Cut
from advisor.data.samples import fingerprint
from advisor.defenses.methods import METHODS
from advisor.defenses.training.base import FitTask, Fitted, TrainedDefense
from advisor.defenses.training.fitted_files import plain
from advisor.errors import AdvisorError, CutError, DataError
from advisor.graph import PartitionGraph
from advisor.preserve import left_as_found
from advisor.progress import ShareProgress
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
    progress: ShareProgress | None = None,
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
        folder: where a killed fit keeps what it goes on from.
        progress: called with the fraction done.
        recipe: the method's own settings.

    Raises:
        AdvisorError: on an unknown method or setting, or a fit that does not recover.
        CutError: when nothing can be encoded at this cut.
        DataError: when the samples do not fit the model, are too few, or labels are needed and absent.
    """
    chosen, found = _method(method), graph.cut(cut)
    check_place(graph, found)
    settings = chosen.complete(recipe)
    inputs = graph.flat(x)
    _check_samples(chosen, inputs, y)
    task = FitTask(
        graph, found, inputs, None if y is None else torch.as_tensor(y), None if val is None else graph.flat(val),
        _tail(graph, found, tail), seed, None if folder is None else Path(folder), progress or (lambda share: None),
        settings,
    )  # fmt: skip
    with left_as_found(graph.module):
        torch.manual_seed(seed)
        fitted = chosen.fit(task)
    _check_weights(chosen, fitted)
    told = {
        "method": chosen.name, **settings, **fitted.recipe, "seed": seed, "base": graph.digest,
        "data": fingerprint(inputs, task.labels),
    }  # fmt: skip
    if task.validation is not None:
        told["validation"] = fingerprint(task.validation, None)
    if task.tail is not None:
        told["tail"] = task.tail.name
    if fitted.against:
        told["trained_against"] = list(fitted.against)
    variant = variant_of(
        graph, found, fitted.encoder, fitted.decoder, plain(told),
        edge_weights=fitted.edge_weights, cloud_weights=fitted.cloud_weights,
    )  # fmt: skip
    return dataclasses.replace(variant, notes=(*variant.notes, *fitted.notes))


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
    if y is not None and len(y) != count:
        raise DataError(f"There are {count} samples and {len(y)} labels.", "Pass one label a sample.")


def _check_weights(method: TrainedDefense, fitted: Fitted) -> None:
    """NaN passes no check: a fit that came apart is no defense."""
    parts: tuple[nn.Module, nn.Module] = (fitted.encoder, fitted.decoder)
    held = [t for part in parts for t in (*part.parameters(), *part.buffers())]
    held += [*fitted.edge_weights.values(), *fitted.cloud_weights.values()]
    if not all(torch.isfinite(t).all() for t in held if t.is_floating_point()):
        raise AdvisorError(
            f"Fitting {method.name!r} ended in weights that are no numbers.", "Lower its rate, or pass other samples."
        )
