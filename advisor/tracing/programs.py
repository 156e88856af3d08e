"""torch.export as this package calls it: the batch dynamic, or frozen and then known to be so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils import _pytree as pytree

from advisor.errors import AdvisorError, TraceError, first_line
from advisor.operations.symbols import frozen_size
from advisor.support.preserve import evaluating, state_kept
from advisor.tracing.drawing import first_admitted, other_rows
from advisor.tracing.reads import InputRead
from advisor.tracing.refusals import explained


def export(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: bool = True, strict: bool = False
) -> ExportedProgram:
    """Export, with a dynamic batch where the model admits one; where it does not, torch freezes it to the example's.

    Raises:
        TraceError: when torch refuses the model.
        InputRead: when values are settled and the forward reads one that depends on the input.
    """
    evaluating(model)
    shapes = ShapesCollection()  # type: ignore[no-untyped-call]
    for leaf in pytree.tree_leaves((args, kwargs)):
        if isinstance(leaf, torch.Tensor) and leaf.dim():
            shapes[leaf] = {0: Dim.AUTO}
    try:
        with state_kept(model):
            return torch.export.export(model, args, kwargs, dynamic_shapes=shapes if dynamic else None, strict=strict)
    except InputRead:
        raise
    except Exception as error:
        raise explained(model, error) from error


def frozen_batch(program: ExportedProgram) -> int | None:
    """The batch that is frozen into a program; None where it is dynamic."""
    sizes = [n.meta["val"].shape[:1] for n in user_inputs(program) if isinstance(n.meta.get("val"), torch.Tensor)]
    frozen = [frozen_size(size[0]) for size in sizes if size]
    return frozen[0] if len(frozen) == len(sizes) > frozen.count(None) else None


def single_sample(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExportedProgram | None:
    """The model exported for one sample, None where it gives a row another value alone than among others."""
    flat, structure = pytree.tree_flatten((args, kwargs))
    tensors = [leaf for leaf in flat if isinstance(leaf, torch.Tensor)]
    rows = tensors[0].shape[0]
    one_args, one_kwargs = pytree.tree_map_only(torch.Tensor, lambda t: t[:1], (args, kwargs))
    try:
        program = export(model, one_args, one_kwargs, dynamic=False)
    except AdvisorError:
        return None
    alone, together = called(program.module(), flat, structure), called(model, flat, structure)

    def same(drawn: tuple[torch.Tensor, ...]) -> bool:
        whole = pytree.tree_leaves(together([x.clone() for x in drawn]))
        singles = [pytree.tree_leaves(alone([x[i : i + 1] for x in drawn])) for i in {0, rows // 2, rows - 1}]
        return all(
            len(single) == len(whole) and all(map(_row_is(i), whole, single))
            for i, single in zip({0, rows // 2, rows - 1}, singles, strict=True)
        )

    with torch.no_grad():
        return program if first_admitted(same, other_rows(tensors, rows)) else None


def called(
    model: Callable[..., Any], flat: Sequence[Any], structure: pytree.TreeSpec
) -> Callable[[Sequence[torch.Tensor]], Any]:
    """A model as a function of flat tensors, which take the places of those in `flat`."""

    def call(tensors: Sequence[torch.Tensor]) -> Any:
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in flat]
        args, kwargs = pytree.tree_unflatten(leaves, structure)
        return model(*args, **kwargs)

    return call


def _row_is(row: int) -> Callable[[Any, Any], bool]:
    def check(together: Any, alone: Any) -> bool:
        if not isinstance(together, torch.Tensor) or not isinstance(alone, torch.Tensor):
            return bool(together == alone)
        found = together[row : row + 1]
        same_shape = together.dim() > 0 and found.shape == alone.shape
        return same_shape and torch.allclose(found.double(), alone.double(), rtol=1e-3, atol=1e-5, equal_nan=True)

    return check


def user_inputs(program: ExportedProgram) -> list[fx.Node]:
    """The placeholders that are no weights."""
    names = set(program.graph_signature.user_inputs)
    return [n for n in program.graph.nodes if n.op == "placeholder" and n.name in names]


def unlifted(program: ExportedProgram) -> fx.GraphModule:
    """The program as a module that reads its own weights, without guards.

    Raises:
        TraceError: when torch makes none of it, as where a file holds no signature that fits its graph.
    """
    try:
        module = program.module(check_guards=False)
        module.graph.lint()
    except Exception as error:
        raise _unusable(error) from error
    return module


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program of torch's core operators.

    Raises:
        TraceError: when torch refuses, as where a file calls an operator with what it does not take.
    """
    try:
        core: ExportedProgram = program.run_decompositions({})
    except Exception as error:
        raise _unusable(error) from error
    return core


def _unusable(error: Exception) -> TraceError:
    return TraceError(
        f"torch cannot use this program: {type(error).__name__}: {first_line(error)}.",
        "Export it again with this torch.",
    )
