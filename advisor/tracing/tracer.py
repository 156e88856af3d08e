"""From a user's model to a PartitionGraph: torch.export first, the batch kept dynamic."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from advisor.cuts import TensorSpec
from advisor.errors import AdvisorError, DataError, TraceError
from advisor.graph import Granularity, PartitionGraph
from advisor.inputs import InputSpec, arguments, nesting, paired
from advisor.support.preserve import left_as_found, plain_attention, state_kept
from advisor.support.quiet import quiet
from advisor.tracing.batch_range import most_samples
from advisor.tracing.fallbacks import Arguments, agrees, fall_back, sampled
from advisor.tracing.input_normalization import Normalization, normalizing
from advisor.tracing.mixing_errors import NotBySampleError
from advisor.tracing.normalise import NotNodewiseError, drop_checks, normalise
from advisor.tracing.programs import decomposed, export, frozen_batch, single_sample, unlifted, user_inputs
from advisor.tracing.refusals import explained, refuse_detectors, takes_gradients
from advisor.tracing.splittable import batch_of, check_results, check_sizes
from advisor.tracing.state import own_modes, written_in


def trace(
    model: nn.Module | ExportedProgram | PartitionGraph | str | Path,
    example_inputs: Any = None,
    *,
    normalization: Normalization | None = None,
    max_tensors: int | None = None,
    granularity: Granularity | None = None,
) -> PartitionGraph:
    """Trace a model into a PartitionGraph.

    Args:
        model: an nn.Module, a torch.export program, or the path of a model file that needs no trust.
        example_inputs: a tensor `[N, ...]`, or a tuple or dict of them; None where the file or the layers tell.
        normalization: (mean, std) per channel, applied to the input as the graph's first node.
        max_tensors: how many tensors may cross a cut, by default 1 (or what the graph has). With 1 a network that is
            connected twice everywhere (a DenseNet inside its blocks, a transformer that hands its mask down) has few
            cuts. With more they are the prefixes of one topological order, one that passes through the lower convex
            hull of bytes sent against work on the edge.
        granularity: "op" (the default), "layer" or "block": cuts after every operation, every module's call, or the
            call of every module with children.

    Raises:
        AdvisorError: on a `max_tensors` or `granularity` that makes no sense.
        TraceError: when torch.export refuses the model; the message names the line of the user's code.
        DataError: when the example inputs do not fit.
    """
    graph = model if isinstance(model, PartitionGraph) else _traced(model, example_inputs, normalization)
    return _with_cuts(graph, max_tensors, granularity)


def _with_cuts(graph: PartitionGraph, max_tensors: int | None, granularity: Granularity | None) -> PartitionGraph:
    """The graph with other cuts; None keeps what it has."""
    most = graph.max_tensors if max_tensors is None else max_tensors
    places = granularity or graph.granularity
    if most < 1 or places not in get_args(Granularity):
        raise AdvisorError(
            f"Cuts of {most} tensors after every {places!r} make no sense.",
            f"Pass max_tensors=1 or more, and granularity one of {', '.join(get_args(Granularity))}.",
        )
    if (most, places) == (graph.max_tensors, graph.granularity):
        return graph
    return dataclasses.replace(graph, max_tensors=most, granularity=places)


def _traced(
    model: nn.Module | ExportedProgram | str | Path, example_inputs: Any, normalization: Normalization | None
) -> PartitionGraph:
    if isinstance(model, str | Path):
        from advisor.loading import load_model

        loaded = load_model(model)
        model, example_inputs = loaded.model, loaded.example_inputs if example_inputs is None else example_inputs
        normalization = normalization or loaded.normalization
    if isinstance(model, nn.Module):
        refuse_detectors(model)
    if isinstance(example_inputs, InputSpec):
        normalization = normalization or example_inputs.normalization
        args, kwargs = example_inputs.example()
    else:
        args, kwargs = _example(model, example_inputs)
    with left_as_found(model if isinstance(model, nn.Module) else None), plain_attention(), quiet():
        if isinstance(model, ExportedProgram):
            return normalizing(_of_program(model, (args, kwargs)), normalization)
        args, kwargs = paired((args, kwargs))
        if isinstance(model, torch.jit.ScriptModule):
            from advisor.loading.torchscript.converter import convert

            return normalizing(_of_program(convert(model.eval(), args), (args, kwargs)), normalization)
        return normalizing(_of_module(model, (args, kwargs)), normalization)


def _of_program(program: ExportedProgram, inputs: Arguments) -> PartitionGraph:
    """Of a program that its owner exported, or torch's converter."""
    given, program = program, _only_batch_dynamic(program, inputs)
    told = () if program is given else (f"The program takes other sizes too; cuts and halves are for {_said(inputs)}.",)
    graph, model = _build(program, told, saved=True), unlifted(program)
    if (most := most_samples(graph)) is not None:
        taken = (
            f"The program was exported for at most {most} samples at once: for more it is taken to compute the same."
        )
        graph = dataclasses.replace(graph, notes=(*graph.notes, taken))
    with state_kept(model):
        return sampled(graph, model, inputs, "This program")


def _said(inputs: Arguments) -> str:
    """Shapes of example inputs, one sample each."""
    shapes = [tuple(leaf.shape[1:]) for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    return " and ".join("×".join(map(str, shape)) or "numbers" for shape in shapes)


def _of_module(model: nn.Module, inputs: Arguments) -> PartitionGraph:
    """By torch.export, or what else takes the model."""
    own = own_modes(model)

    def build(program: ExportedProgram, notes: Sequence[str]) -> PartitionGraph:
        if frozen_batch(program) is not None:
            program = single_sample(model, *inputs) or program
        return _build(program, (*own, *notes))

    try:
        graph = sampled(build(export(model, *inputs), ()), model, inputs, type(model).__name__)
        if graph.fixed_batch not in (None, 1) and not agrees(graph, model, inputs):
            raise TraceError(
                f"{type(model).__name__} computes with the number of samples as a Python number.",
                "Use x.shape[0] in tensor operations only: as a number (len(x), a loop over samples) it is frozen.",
            )
    except NotBySampleError:
        raise
    except TraceError as refusal:
        told = explained(model, refusal) if takes_gradients(model) else refusal
        return fall_back(model, inputs, build, told)
    except Exception as error:
        if takes_gradients(model):  # torch made a constant of it, which nothing can be computed with
            raise explained(model, error) from error
        raise
    return graph


def _example(model: Any, example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if example_inputs is not None:
        return arguments(example_inputs, model if isinstance(model, nn.Module) else None)
    if isinstance(model, ExportedProgram):
        if model.example_inputs is None:
            raise DataError("This exported program carries no example inputs.", "Pass example_inputs or --input-shape.")
        args, kwargs = model.example_inputs
        return args, kwargs
    from advisor.loading.shapes import infer_example

    return (infer_example(model)[0],), {}


def _only_batch_dynamic(program: ExportedProgram, inputs: Arguments) -> ExportedProgram:
    """A program with other dynamic sizes, exported again with those of these inputs: a cut has one shape a sample."""
    shapes = [n.meta["val"].shape for n in user_inputs(program) if isinstance(n.meta.get("val"), torch.Tensor)]
    if not any(isinstance(size, torch.SymInt) for shape in shapes for size in shape[1:]):
        return program

    def several(value: torch.Tensor) -> torch.Tensor:
        return torch.cat([value, value]) if value.shape[:1] == (1,) else value  # one would be frozen

    return export(unlifted(program), *paired(pytree.tree_map_only(torch.Tensor, several, inputs)))


def _build(program: ExportedProgram, told: Sequence[str] = (), saved: bool = False) -> PartitionGraph:
    notes = list(told)
    module, writes = _normalised(program, notes)
    notes += written_in(writes, saved)
    codegen: Any = module.graph._codegen
    info = codegen.pytree_info
    nodes = [n for n in module.graph.nodes if n.op == "placeholder"]
    fixed = batch_of(nodes)
    check_sizes(module.graph, nodes)
    check_results(module.graph, notes)
    if fixed is not None:
        notes.append(f"The program has a fixed batch of {fixed}; it runs in groups of that size.")
    inputs = InputSpec(
        tuple(TensorSpec(tuple(int(s) for s in n.meta["val"].shape[1:]), _dtype(n)) for n in nodes),
        _keywords(info),
        None,
        nesting(info.in_spec)[1:] if nesting(info.in_spec) else None,
    )
    example = tuple(torch.zeros((fixed or 2, *s.shape), dtype=getattr(torch, s.dtype)) for s in inputs.tensors)
    return PartitionGraph(module, example, inputs, fixed, info.in_spec, info.out_spec, tuple(notes), tuple(writes))


def _normalised(program: ExportedProgram, notes: list[str]) -> tuple[fx.GraphModule, list[str]]:
    module = unlifted(program)
    try:
        return module, normalise(module)
    except NotNodewiseError as reason:
        notes.append(f"The model holds {reason}, which torch made explicit over the whole program.")
        module = unlifted(decomposed(_without_checks(program)))
        return module, normalise(module)


def _without_checks(program: ExportedProgram) -> ExportedProgram:
    """A program whose graph asserts nothing: of what an autocast region returns, torch asserts another dtype."""
    program = copy.copy(program)
    program._graph_module = copy.deepcopy(program.graph_module)
    drop_checks(program.graph)
    return program


def _dtype(node: fx.Node) -> str:
    return str(node.meta["val"].dtype).removeprefix("torch.")


def _keywords(info: Any) -> tuple[str, ...]:
    args, kwargs = info.in_spec.children()
    by_name = [
        key for key, child in zip(kwargs.context or [], kwargs.children(), strict=True) for _ in range(child.num_leaves)
    ]
    return (*("",) * args.num_leaves, *by_name)
