"""From a user's model to a PartitionGraph: torch.export first, the batch kept dynamic."""

from __future__ import annotations

import dataclasses
import io
import logging
import sysconfig
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, get_args

import sympy  # type: ignore[import-untyped]
import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils import _pytree as pytree

from advisor.cuts import TensorSpec
from advisor.errors import AdvisorError, DataError, TraceError
from advisor.graph import Granularity, PartitionGraph
from advisor.inputs import InputSpec, arguments, nesting, paired
from advisor.normalise import NotNodewiseError, normalise
from advisor.preserve import left_as_found, plain_attention
from advisor.symbols import expression, frozen_size

Normalization = tuple[tuple[float, ...], tuple[float, ...]]


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
        granularity: "op" (the default), "layer" or "block": cuts behind every operation, every module's call, or the
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
            f"Cuts of {most} tensors behind every {places!r} make no sense.",
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
    if isinstance(example_inputs, InputSpec):
        normalization = normalization or example_inputs.normalization
        args, kwargs = example_inputs.example()
    else:
        args, kwargs = _example(model, example_inputs)
    with left_as_found(model if isinstance(model, nn.Module) else None), plain_attention(), _quiet():
        if isinstance(model, ExportedProgram):
            return _build(_only_batch_dynamic(model), normalization)
        args, kwargs = paired((args, kwargs))
        if isinstance(model, torch.jit.ScriptModule):
            from advisor.loading.torchscript import convert

            return _build(_only_batch_dynamic(convert(model.eval(), args)), normalization)
        program = _export(model, args, kwargs)
        if _frozen_batch(program) is not None:
            program = _single_sample(model, args, kwargs) or program
        return _build(program, normalization)


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


def _export(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: bool = True) -> ExportedProgram:
    """Export, with a dynamic batch where the model admits one; where it does not, torch freezes it to the example's."""
    for module in model.modules():
        module.training = False

    shapes = ShapesCollection()  # type: ignore[no-untyped-call]
    for leaf in pytree.tree_leaves((args, kwargs)):
        if isinstance(leaf, torch.Tensor) and leaf.dim():
            shapes[leaf] = {0: Dim.AUTO}
    try:
        return torch.export.export(model, args, kwargs, dynamic_shapes=shapes if dynamic else None, strict=False)
    except Exception as error:
        raise _explained(model, error) from error


def _frozen_batch(program: ExportedProgram) -> int | None:
    """The batch that is frozen into a program; None where it is dynamic."""
    sizes = [n.meta["val"].shape[:1] for n in _inputs(program) if isinstance(n.meta.get("val"), torch.Tensor)]
    frozen = [frozen_size(size[0]) for size in sizes if size]
    return frozen[0] if len(frozen) == len(sizes) > frozen.count(None) else None


def _single_sample(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExportedProgram | None:
    """The model exported for one sample, None where it then does something else than on the example's first sample."""

    def first(leaf: Any) -> Any:
        return leaf[:1] if isinstance(leaf, torch.Tensor) else leaf

    one_args, one_kwargs = pytree.tree_map(first, (args, kwargs))
    with torch.no_grad():
        try:
            program = _export(model, one_args, one_kwargs, dynamic=False)
            alone = pytree.tree_leaves(program.module()(*one_args, **one_kwargs))
        except (AdvisorError, RuntimeError):
            return None
        together = pytree.tree_leaves(model(*args, **kwargs))
    same = len(alone) == len(together) and all(map(_first_row_is, together, alone))
    return program if same else None


def _first_row_is(together: Any, alone: Any) -> bool:
    if not isinstance(together, torch.Tensor) or not isinstance(alone, torch.Tensor):
        return bool(together == alone)
    same_shape = together.dim() > 0 and together[:1].shape == alone.shape
    return same_shape and torch.allclose(together[:1].double(), alone.double(), rtol=1e-3, atol=1e-5, equal_nan=True)


def _only_batch_dynamic(program: ExportedProgram) -> ExportedProgram:
    """A program with other dynamic sizes, exported again with those of its example: a cut has one shape a sample."""
    shapes = [n.meta["val"].shape for n in _inputs(program) if isinstance(n.meta.get("val"), torch.Tensor)]
    if not any(isinstance(size, torch.SymInt) for shape in shapes for size in shape[1:]):
        return program
    if program.example_inputs is None:
        raise TraceError(
            "This program has dynamic sizes beside the batch, and no example inputs that would settle them.",
            "Export it with a dynamic batch only.",
        )
    return _export(_unlifted(program), *paired(program.example_inputs))


def _inputs(program: ExportedProgram) -> list[fx.Node]:
    names = set(program.graph_signature.user_inputs)
    return [n for n in program.graph.nodes if n.op == "placeholder" and n.name in names]


def _explained(model: nn.Module, error: Exception) -> TraceError:
    """The reason in one line, with the innermost line that is the user's own."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith(_NOT_THE_USERS) and frame.line:
            place = f" at {Path(frame.filename).name}:{frame.lineno} ({frame.line})"
    reason = str(error).strip().splitlines()[0][:300].rstrip(".") if str(error).strip() else type(error).__name__
    return TraceError(
        f"torch.export cannot trace {type(model).__name__}{place}: {reason}.",
        "Export it yourself with torch.export.export and pass the .pt2, or change that line.",
    )


_NOT_THE_USERS = (
    *(str(Path(module.__file__ or "").parent) for module in (torch, sympy)),
    *(str(Path(__file__).parent / name) for name in ("tracing.py", "preserve.py")),
    sysconfig.get_paths()["stdlib"] + "/contextlib",
    "<",
)


def _build(program: ExportedProgram, normalization: Normalization | None) -> PartitionGraph:
    notes: list[str] = []
    module = _normalised(program, notes)
    codegen: Any = module.graph._codegen
    info = codegen.pytree_info
    nodes = [n for n in module.graph.nodes if n.op == "placeholder"]
    fixed = _batch_of(nodes)
    _check_sizes(module.graph, nodes)
    if fixed is not None:
        notes.append(f"The program has a fixed batch of {fixed}; it runs in groups of that size.")
    if normalization is not None:
        _insert_normalization(module, nodes[0], normalization)
    inputs = InputSpec(
        tuple(TensorSpec(tuple(int(s) for s in n.meta["val"].shape[1:]), _dtype(n)) for n in nodes),
        _keywords(info),
        normalization,
        nesting(info.in_spec)[1:] if nesting(info.in_spec) else None,
    )
    example = tuple(torch.zeros((fixed or 2, *s.shape), dtype=getattr(torch, s.dtype)) for s in inputs.tensors)
    return PartitionGraph(module, example, inputs, fixed, info.in_spec, info.out_spec, tuple(notes))


def _normalised(program: ExportedProgram, notes: list[str]) -> fx.GraphModule:
    try:
        return normalise(_unlifted(program))
    except NotNodewiseError as reason:
        notes.append(f"The model holds {reason}, which torch made explicit over the whole program.")
        return normalise(_unlifted(program.run_decompositions({})))


def _batch_of(nodes: list[fx.Node]) -> int | None:
    """The frozen batch size, None where it is dynamic.

    Raises:
        TraceError: when an input has no batch dimension.
    """
    sizes = {}
    for node in nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            raise TraceError(f"The input {node.name!r} is no tensor.", "Close over constants instead of passing them.")
        sizes[node.name] = frozen_size(value.shape[0]) if value.dim() else 0
    if not sizes:
        raise TraceError("This model takes no input.", "There is nothing to split.")
    frozen = {name: size for name, size in sizes.items() if size is not None}
    if not frozen:
        return None
    if len(frozen) < len(sizes) or len(set(frozen.values())) > 1:
        raise TraceError(
            f"The first dimension of the input {min(frozen)!r} is not the batch.",
            "Give every input a leading batch dimension, or make it a buffer of the model.",
        )
    return next(iter(frozen.values()))


def _check_sizes(graph: fx.Graph, inputs: list[fx.Node]) -> None:
    """Refuse sizes that depend on values: behind a cut they could not be told from the batch."""
    known = {symbol for node in inputs for symbol in expression(node.meta["val"].shape[0]).free_symbols}
    for node in graph.nodes:
        values = [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, torch.Tensor | torch.SymInt)]
        sizes = [size for v in values for size in (v.shape if isinstance(v, torch.Tensor) else (v,))]
        if any(expression(size).free_symbols - known for size in sizes if isinstance(size, torch.SymInt)):
            raise TraceError(
                f"The size of what {node.name!r} returns depends on the values of the input{_line_of(node)}.",
                "Such a model has no fixed tensors that could cross; compute a mask instead.",
            )


def _line_of(node: fx.Node) -> str:
    """Where in the user's code an operation was written, as torch recorded it."""
    lines = str(node.meta.get("stack_trace") or "").strip().splitlines()
    places = [i for i, line in enumerate(lines) if line.strip().startswith("File ")]
    if not places or places[-1] + 1 >= len(lines):
        return ""
    file, number = lines[places[-1]].strip().removeprefix("File ").split(", ")[:2]
    return f" at {Path(file.strip(chr(34))).name}:{number.removeprefix('line ')} ({lines[places[-1] + 1].strip()})"


def _unlifted(program: ExportedProgram) -> fx.GraphModule:
    module = program.module(check_guards=False)
    module.graph.lint()
    return module


def _dtype(node: fx.Node) -> str:
    return str(node.meta["val"].dtype).removeprefix("torch.")


def _keywords(info: Any) -> tuple[str, ...]:
    args, kwargs = info.in_spec.children()
    by_name = [
        key for key, child in zip(kwargs.context or [], kwargs.children(), strict=True) for _ in range(child.num_leaves)
    ]
    return (*("",) * args.num_leaves, *by_name)


def _insert_normalization(module: fx.GraphModule, x: fx.Node, normalization: Normalization) -> None:
    value = x.meta["val"]
    view = (1, -1, *(1,) * (value.dim() - 2))
    channels = len(normalization[0])
    if not value.dtype.is_floating_point:
        raise DataError(f"The model takes {_dtype(x)}, which cannot be normalised.", "See --normalize.")
    if value.dim() < 2 or channels not in (1, value.shape[1]):
        raise DataError(
            f"The normalisation has {channels} channels, the input {tuple(value.shape[1:])}.", "See --normalize."
        )
    for name, numbers in zip(("mean", "std"), normalization, strict=True):
        module.register_buffer(f"normalize_{name}", torch.tensor(numbers, dtype=value.dtype).view(view))
    stack = {"L__self__": ("", "torch.nn.Module"), "normalize": ("normalize", "torch.nn.Module")}
    users, result = list(x.users), x
    with module.graph.inserting_before(next(n for n in module.graph.nodes if n.op in ("call_function", "output"))):
        for name, operator in (("mean", torch.ops.aten.sub.Tensor), ("std", torch.ops.aten.div.Tensor)):
            constant = module.graph.get_attr(f"normalize_{name}")
            constant.meta["val"] = getattr(module, f"normalize_{name}")
            result = module.graph.call_function(operator, (result, constant))
            result.meta = {"val": value, "nn_module_stack": stack}
    for user in users:
        user.replace_input_with(x, result)
    module.recompile()


@contextmanager
def _quiet() -> Iterator[None]:
    """torch.export warns, logs and prints about its own internals; the user can act on none of it."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
