"""The first stages: the data as they are, the model with an example to trace it with, and its graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advisor.advice import Advice
from advisor.data.example import example_from, shapes_of
from advisor.data.images.image_folder import ImageFolder
from advisor.data.normalization import chosen_normalization
from advisor.data.samples import Samples
from advisor.errors import AdvisorError, TraceError, UnsafeFileError
from advisor.graph import PartitionGraph
from advisor.loading import LoadedModel, load_model
from advisor.loading.pickles import Trust
from advisor.loading.shapes import example_of, infer_example
from advisor.planning.evaluating.cut_patterns import chosen_cuts
from advisor.planning.preparing.data_roles import sources
from advisor.planning.stages import Inputs, Traced, step
from advisor.progress import RunListener
from advisor.recorded import Source, check_hash
from advisor.request import Request
from advisor.tracing import tracer
from advisor.tracing.refusals import refuse_detectors


def load(
    request: Request, progress: RunListener | None = None, *, example: Any = None, trust: Trust = False,
    recorded: Source | None = None, earlier: Advice | None = None,
) -> Inputs:  # fmt: skip
    """The data as they are, checked before anything slow, and the model, with an example to trace it with.

    Args:
        request: what is wanted.
        progress: told of the step.
        example, trust, earlier: what no file may say, so that the request has none of it: inputs to trace with, leave
            to run the model's code, advice to take measurements from.
        recorded: where the model's path was read from a file: the hash that its bytes must have.

    Raises:
        AdvisorError: when model or data cannot be used.
        InterruptedRunError: on Ctrl-C, as every stage before the search.
    """
    model, wanted = request.model, request.data
    with step("load", progress) as now:
        read = sources(wanted, request.search.seed)
        found = read["data"]
        now(0.5, "model")
        if isinstance(model.model, str | Path):
            loaded = _loaded(model.model, model.arch, trust, model.input_shape, found)
            _check_stated_shape(loaded, model.input_shape)
        else:
            loaded = LoadedModel(model.model, "module", None, "", _example(model.model, model.input_shape))
        needed = loaded.example_inputs is None or not isinstance(found, ImageFolder)
        if found is not None and needed and model.input_shape is None and example is None:
            loaded = _with_example_of(loaded, found, wanted.resize)
        if recorded is not None:
            check_hash(recorded, loaded.sha256)
    notes = (*loaded.notes, *(found.notes if found else ()))
    return Inputs(loaded=loaded, **read, example=example, earlier=earlier, notes=notes, seconds=now.seconds)


def _loaded(
    model: str | Path, arch: str | None, trust: Any, stated: tuple[int, ...] | None, found: Samples | ImageFolder | None
) -> LoadedModel:
    """The model file; a script, which takes no other shape once it is converted, in one that the data can have."""
    shapes = shapes_of(found) if stated is None and isinstance(found, Samples) else []
    try:
        loaded = load_model(model, arch=arch, trust=trust, input_shape=stated)
    except UnsafeFileError:
        raise  # in no shape it is safer, and nobody is asked twice
    except AdvisorError as error:
        loaded, refusal = None, error
    if loaded is not None and (loaded.kind != "torchscript" or loaded.input_shape in shapes or not shapes):
        return loaded
    for shape in shapes:
        try:
            return load_model(model, arch=arch, trust=trust, input_shape=shape)
        except AdvisorError:
            continue
    if loaded is None:
        raise refusal
    return loaded


def _with_example_of(loaded: LoadedModel, found: Samples | ImageFolder, resize: int | None) -> LoadedModel:
    """A module's example in the layout and dtype of the data, where its forward takes them."""
    if not isinstance(loaded.model, nn.Module) or isinstance(loaded.model, PartitionGraph):
        return loaded
    example = example_from(loaded.model, found, resize)
    if example is None:
        return loaded
    return replace(loaded, example_inputs=(example,) if isinstance(example, Tensor) else example)


def _example(model: Any, shape: tuple[int, ...] | None) -> tuple[Tensor] | None:
    if shape is None:
        return None
    return (example_of(model, shape) if isinstance(model, nn.Module) else torch.zeros(2, *shape),)


def _check_stated_shape(loaded: LoadedModel, stated: tuple[int, ...] | None) -> None:
    """An exported program keeps the shapes it was exported with, whatever the user states."""
    if stated is None or loaded.kind not in ("export", "torchscript") or loaded.example_inputs is None:
        return
    own = tuple(loaded.example_inputs[0].shape[1:])
    if own != stated:
        raise AdvisorError(
            f"The file takes inputs of {own}, not of {stated}.", "Leave --input-shape out, or export again."
        )


@contextlib.contextmanager
def _shape_doubted(stated: tuple[int, ...] | None) -> Iterator[None]:
    """Where a model cannot be traced with inputs of a shape that the user stated, the shape is the first to doubt."""
    try:
        yield
    except TraceError as error:
        if stated is None:
            raise
        doubt = f"Is {','.join(map(str, stated))} one input, without the batch? If so:"
        raise TraceError(error.problem, f"{doubt} {error.next_step}") from error


def trace(request: Request, inputs: Inputs, progress: RunListener | None = None) -> Traced:
    """The graph, normalisation inserted; the example comes from the user, the file, the data or the layers."""
    wanted, loaded = request.model, inputs.loaded
    cuts: dict[str, Any] = {"max_tensors": wanted.max_tensors, "granularity": wanted.granularity}
    notes: list[str] = []
    with step("trace", progress) as now:
        if isinstance(wanted.model, PartitionGraph):
            graph = tracer.trace(wanted.model, **cuts)
        else:
            if isinstance(loaded.model, nn.Module):
                refuse_detectors(loaded.model)
            normalization, sentence = chosen_normalization(wanted.normalize, loaded.normalization)
            notes.append(sentence)
            example = inputs.example if inputs.example is not None else loaded.example_inputs
            if example is None and isinstance(loaded.model, nn.Module):
                example, note = infer_example(loaded.model)
                notes.append(note)
            with _shape_doubted(wanted.input_shape):
                graph = tracer.trace(loaded.model, example, normalization=normalization, **cuts)
            notes += graph.notes
        chosen_cuts(graph, request.search.cuts)  # what names no cut is refused here
    return Traced(inputs=inputs, graph=graph, notes=tuple(notes), seconds=now.seconds)
