"""From a user's model to a PartitionGraph: torch.export first, the batch kept dynamic."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from advisor.cuts import TensorSpec
from advisor.errors import AdvisorError, DataError, TraceError
from advisor.graph import PartitionGraph
from advisor.inputs import InputSpec, arguments, leaves, paired
from advisor.normalise import AliasedMutation, normalise
from advisor.preserve import left_as_found, plain_attention

Normalization = tuple[tuple[float, ...], tuple[float, ...]]


def trace(
    model: nn.Module | ExportedProgram | PartitionGraph | str | Path,
    example_inputs: Any = None,
    *,
    normalization: Normalization | None = None,
) -> PartitionGraph:
    """Trace a model into a PartitionGraph.

    Args:
        model: an nn.Module, a torch.export program, or the path of a model file that needs no trust.
        example_inputs: a tensor `[N, ...]`, or a tuple or dict of them; None where the file or the layers tell.
        normalization: (mean, std) per channel, applied to the input as the graph's first node.

    Raises:
        TraceError: when torch.export refuses the model; the message names the line of the user's code.
        DataError: when the example inputs do not fit.
    """
    if isinstance(model, PartitionGraph):
        return model
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
        program = model if isinstance(model, ExportedProgram) else _export(model, *paired((args, kwargs)))
        return _build(program, normalization)


def _example(model: Any, example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if example_inputs is not None:
        return arguments(example_inputs, model if isinstance(model, nn.Module) else None)
    if isinstance(model, ExportedProgram):
        if model.example_inputs is None:
            raise DataError("This exported program carries no example inputs.", "Pass example_inputs or --input-shape.")
        return model.example_inputs
    from advisor.loading.shapes import infer_input_shape

    shape, _ = infer_input_shape(model)
    return (torch.zeros(2, *shape),), {}


def _export(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExportedProgram:
    """Export with a dynamic batch; where the program does not admit one, as a batch of 1 that runs under vmap."""
    model.eval()

    def leading(leaf: Any) -> Any:
        return {0: Dim.AUTO} if isinstance(leaf, torch.Tensor) and leaf.dim() else None

    shapes = pytree.tree_map(leading, (args, kwargs))
    try:
        return torch.export.export(model, args, kwargs, dynamic_shapes=_by_argument(model, *shapes), strict=False)
    except AdvisorError:
        raise
    except Exception as error:
        raise _explained(model, error) from error


def _by_argument(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """torch.export wants one dict by argument name when there are keyword inputs."""
    if not kwargs:
        return args
    import inspect

    bound = inspect.signature(model.forward).bind(*args, **kwargs)
    return dict(bound.arguments)


def _explained(model: nn.Module, error: Exception) -> TraceError:
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/torch/" not in f.filename and f.name == "forward"
    ]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} ({frames[-1].line})" if frames else ""
    reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    return TraceError(
        f"torch.export cannot trace {type(model).__name__}{place}: {reason}.",
        "Export it yourself with torch.export.export and pass the .pt2, or change that line.",
    )


def _build(program: ExportedProgram, normalization: Normalization | None) -> PartitionGraph:
    notes: list[str] = []
    try:
        module = normalise(_unlifted(program))
    except AliasedMutation as write:
        notes.append(f"The model writes in place through a view ({write}); torch functionalised the whole program.")
        module = normalise(_unlifted(program.run_decompositions({})))
    info = module.graph._codegen.pytree_info
    nodes = [n for n in module.graph.nodes if n.op == "placeholder"]
    if not all(isinstance(n.meta.get("val"), torch.Tensor) for n in nodes):
        raise TraceError("An input of this program is no tensor.", "Close over constants instead of passing them.")
    rows = nodes[0].meta["val"].shape[0] if nodes[0].meta["val"].dim() else None
    if rows is None:
        raise TraceError("The first input has no batch dimension.", "Give every input a leading batch dimension.")
    fixed = rows if isinstance(rows, int) else None
    if fixed is not None:
        notes.append(f"The program was exported with a fixed batch of {fixed}; it runs in groups of that size.")
    size = fixed or 2
    if normalization is not None:
        _insert_normalization(module, nodes[0], normalization)
    inputs = InputSpec(
        tuple(TensorSpec(tuple(int(s) for s in n.meta["val"].shape[1:]), _dtype(n)) for n in nodes),
        _keywords(info),
        normalization,
    )
    example = tuple(torch.zeros((size, *s.shape), dtype=getattr(torch, s.dtype)) for s in inputs.tensors)
    return PartitionGraph(module, example, inputs, fixed, info.in_spec, info.out_spec, tuple(notes))


def _unlifted(program: ExportedProgram) -> fx.GraphModule:
    module = program.module(check_guards=False)
    module.graph.lint()
    return module  # type: ignore[no-any-return]


def _dtype(node: fx.Node) -> str:
    return str(node.meta["val"].dtype).removeprefix("torch.")


def _keywords(info: Any) -> tuple[str, ...]:
    args, kwargs = info.in_spec.children()
    by_name = [
        key for key, child in zip(kwargs.context or [], kwargs.children(), strict=True) for _ in range(child.num_leaves)
    ]
    return ("",) * args.num_leaves + tuple(by_name)


def _insert_normalization(module: fx.GraphModule, x: fx.Node, normalization: Normalization) -> None:
    value = x.meta["val"]
    view = (1, -1, *(1,) * (value.dim() - 2))
    channels = len(normalization[0])
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
    """torch.export warns and logs about its own internals; the user can act on none of it."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
