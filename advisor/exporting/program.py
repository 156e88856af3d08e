"""A half as a torch.export program: made, written, read again with nothing but torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils import _pytree as pytree
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from advisor.errors import AdvisorError
from advisor.exporting.parts import Part
from advisor.support.quiet import quiet

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph

TRACE_NOTES = ("stack_trace", "source_fn_stack", "torch_fn", "from_node", "custom")
"""What torch.export notes of each operation's origin: paths on the exporting computer, nobody's business elsewhere."""


def call_arguments(part: Part, graph: PartitionGraph, flat: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a part is called with these flat tensors."""
    if not part.from_user:
        return (flat[0] if len(flat) == 1 else tuple(flat),), {}
    noise: dict[str, Any] = {}
    if part.noise is not None:
        *flat, noise[part.noise.name] = flat
    if part.from_user == "flat":
        return tuple(flat), noise
    args, kwargs = pytree.tree_unflatten(list(flat), graph.in_spec)
    return tuple(args), kwargs | noise


def exported(part: Part, graph: PartitionGraph, flat: Sequence[Tensor], batch: int | None) -> ExportedProgram:
    """The program of one part.

    Args:
        part: what to export.
        graph: of the model, for the calling convention.
        flat: its example inputs, a batch of 2 or more; of exactly `batch` where that is frozen.
        batch: frozen batch size, None for any.

    Raises:
        AdvisorError: when torch.export refuses it.
    """
    args, kwargs = call_arguments(part, graph, flat)
    shapes = None
    if batch is None:
        shapes = ShapesCollection()  # type: ignore[no-untyped-call]
        for tensor in pytree.tree_leaves((args, kwargs)):
            shapes[tensor] = {0: Dim.DYNAMIC}
    try:
        with torch.no_grad(), quiet():
            program = torch.export.export(part.module, args, kwargs, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        line = str(error).strip().split("\n")[0][:300]
        raise AdvisorError(f"torch.export refuses the {part.name} part: {line}.", "Cut elsewhere.") from error
    if batch is None:  # what an operation chooses by the number of samples, it chooses anew in each call
        program.range_constraints.update(dict.fromkeys(program.range_constraints, ValueRanges(0, int_oo)))
    program._guards_code = []  # code as text, which a loading process would have to evaluate
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            for key in TRACE_NOTES:
                node.meta.pop(key, None)
    return program


def write(program: ExportedProgram, path: Path) -> None:
    """Write the program as a `.pt2` archive; by way of memory, since torch's own writer aborts on a full disk."""
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer)
    path.write_bytes(buffer.getbuffer())


def read(path: Path) -> torch.nn.Module:
    """A program that was just written, as a module."""
    with path.open("rb") as file, quiet():
        return torch.export.load(file).module()
