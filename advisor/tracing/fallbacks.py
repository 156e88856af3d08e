"""What torch.export refuses at first, and what still takes it; nothing is accepted that was not checked on other input.

In order: the same export with values settled that the forward reads from the model's own tensors; torch.export in
strict mode; TorchScript and its converter. A graph by any of these has to give what the model gives on other values and
for another number of samples, and says in its notes how it came about.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from advisor.errors import AdvisorError, DataError, TraceError
from advisor.graph import PartitionGraph
from advisor.tracing.batch_range import for_more_samples
from advisor.tracing.drawing import first_admitted, other_rows
from advisor.tracing.independence import by_sample
from advisor.tracing.mixing_errors import NotBySampleError
from advisor.tracing.programs import called, export
from advisor.tracing.reads import InputRead, Read, Settled, reads_of
from advisor.tracing.refusals import by_value

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Build = Callable[[ExportedProgram, Sequence[str]], PartitionGraph]
_PLAIN = (Tensor, int, float, complex, bool, str, type(None), torch.dtype, torch.device)


def fall_back(model: nn.Module, inputs: Arguments, build: Build, refusal: AdvisorError) -> PartitionGraph:
    """The graph by the first tracer whose result agrees with the model.

    Args:
        model: in eval mode.
        inputs: example (args, kwargs).
        build: makes a graph of a program, with notes.
        refusal: why the plain export did not do.

    Raises:
        DataError: when the model does not run on inputs of different numbers of samples.
        TraceError: a plainer reason where one was found, else `refusal`.
    """
    try:
        output, reads = reads_of(model, *inputs)
    except Exception:  # noqa: BLE001 - the model does not even run on the example
        raise _unequal_rows(inputs) or refusal from None
    make_known(output)
    for attempt in (_settled, _strict, _scripted):
        try:
            graph = build(*attempt(model, inputs, reads, str(refusal)))
            if agrees(graph, model, inputs):
                return sampled(graph, model, inputs, type(model).__name__)
        except NotBySampleError:
            raise
        except InputRead as read:
            raise by_value(type(model).__name__, read.place) from None
        except Exception:  # noqa: BLE001 - torch refuses in any words; the first refusal is told
            continue
    raise refusal


def _unequal_rows(inputs: Arguments) -> DataError | None:
    """Why a model may not run on an example whose inputs have different numbers of samples; None where all agree."""
    rows = dict.fromkeys(str(leaf.shape[0]) for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor))
    if len(rows) == 1:
        return None
    return DataError(
        f"The model does not run on the example, whose inputs have {' and '.join(rows)} samples.",
        "Pass equally many of each: dimension 0 of every input must be the sample.",
    )


def _settled(model: nn.Module, inputs: Arguments, reads: list[Read], why: str) -> tuple[ExportedProgram, list[str]]:
    settled = Settled(reads)
    with settled:
        program = export(model, *inputs)
    checks = [place for place, read in settled.used.items() if read.only_checks]
    frozen = [place for place, read in settled.used.items() if not read.only_checks]
    notes = [f"A check of values was left out{place}." for place in checks]
    return program, [
        *notes,
        *(f"What the forward reads from the model's own tensors was settled when tracing{place}." for place in frozen),
    ]


def _strict(model: nn.Module, inputs: Arguments, reads: list[Read], why: str) -> tuple[ExportedProgram, list[str]]:
    return export(model, *inputs, strict=True), ["Only the strict mode of torch.export took this model."]


def _scripted(model: nn.Module, inputs: Arguments, reads: list[Read], why: str) -> tuple[ExportedProgram, list[str]]:
    from advisor.loading.torchscript.converter import convert

    args, kwargs = inputs
    if kwargs or any(read.from_input and not read.only_checks for read in reads):
        raise TraceError("TorchScript would freeze a branch that depends on the input.")
    script = torch.jit.trace(model, args, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
    program = convert(script, args)
    weights: dict[str, Any] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in program.state_dict:
        if name in weights and weights[name].shape == program.state_dict[name].shape:
            program.state_dict[name] = weights[name]
    note = (
        "torch.export refuses this model; it was traced by TorchScript: operations are named by the owners of weights."
    )
    return program, [note]


def make_known(output: Any) -> None:
    """Register the dataclasses in a model's output with torch, so that it can take them apart.

    Raises:
        TraceError: when the model returns no tensor, or something of a type that torch cannot take apart.
    """
    while unknown := {type(v) for v in pytree.tree_leaves(output) if not isinstance(v, _PLAIN)}:
        for kind in sorted(unknown, key=str):
            if not dataclasses.is_dataclass(kind) or not all(f.init for f in dataclasses.fields(kind)):
                raise _unknown(kind)
            torch.export.register_dataclass(kind, serialized_type_name=f"{kind.__module__}.{kind.__qualname__}")
    if not any(isinstance(v, Tensor) for v in pytree.tree_leaves(output)):
        raise TraceError(f"The model returns no tensor, but {_named(output)}.", "There is nothing to split.")


def _named(output: Any) -> str:
    kind = "None" if output is None else type(output).__name__
    return kind if output is None or kind[0].isupper() else f"a value of type {kind}"


def _unknown(kind: type) -> TraceError:
    if kind.__module__.startswith("transformers.") and kind.__name__.endswith("Cache"):
        step = "Set model.config.use_cache = False: halves keep nothing from call to call."
    else:
        step = "Return tensors, or tuples, dicts or dataclasses of them, or register it with torch.utils._pytree."
    return TraceError(f"The model returns an object of type {kind.__name__}, which torch cannot take apart.", step)


def sampled(graph: PartitionGraph, model: nn.Module, inputs: Arguments, name: str) -> PartitionGraph:
    """The graph, where it computes sample by sample; what the check could not tell is among its notes.

    Raises:
        NotBySampleError: when it does not.
        TraceError: when it computes something else than the model.
    """
    flat, structure = pytree.tree_flatten(inputs)
    tensors = [leaf for leaf in flat if isinstance(leaf, Tensor)]
    run = called(model, flat, structure)
    return for_more_samples(by_sample(graph, tensors, run, name), tensors, run, name)


def agrees(graph: PartitionGraph, model: nn.Module, inputs: Arguments) -> bool:
    """Whether the graph gives what the model gives, on other values and for another number of samples."""
    rows = next(t.shape[0] for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor))
    return all(_agrees_for(graph, model, inputs, count) for count in (rows, rows + 1))


def _agrees_for(graph: PartitionGraph, model: nn.Module, inputs: Arguments, rows: int) -> bool:
    flat, structure = pytree.tree_flatten(inputs)
    tensors = [leaf for leaf in flat if isinstance(leaf, Tensor)]

    run = called(model, flat, structure)

    def expected(drawn: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Any]:
        torch.manual_seed(0)
        return drawn, run([x.clone() for x in drawn])

    with torch.no_grad():
        admitted = first_admitted(expected, other_rows(tensors, rows))
        if admitted is None:
            return False
        torch.manual_seed(0)
        found = graph.run(admitted[0])
    return same(pytree.tree_unflatten(list(found), graph.out_spec), admitted[1])


def same(found: Any, expected: Any) -> bool:
    """Structure, types, shapes, and values within 1e-4."""
    (a, a_structure), (b, b_structure) = pytree.tree_flatten(found), pytree.tree_flatten(expected)
    return a_structure == b_structure and all(map(_close, a, b))


def _close(a: Any, b: Any) -> bool:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return type(a) is type(b) and bool(a == b)
    wide = torch.complex128 if b.dtype.is_complex else torch.float64
    return a.dtype == b.dtype and a.shape == b.shape and torch.allclose(a.to(wide), b.to(wide), 1e-4, 1e-5, True)
