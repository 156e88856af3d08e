"""Is dimension 0 the sample? Each row alone has to give what it gives among others, and two runs have to be equal."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from advisor.data.synthetic.synthesis import vocabulary
from advisor.errors import TraceError
from advisor.graph import PartitionGraph
from advisor.operations.rows import parts_of
from advisor.operations.symbols import symbols_of
from advisor.tracing.culprits import drawing_operation, mixing_operation
from advisor.tracing.deciding import deciding_operation
from advisor.tracing.drawing import first_admitted, generator_states, other_rows
from advisor.tracing.mixing_errors import decides, draws, mixes, named, unsteady
from advisor.tracing.refusals import line_of_node

ROWS = 3
LIMIT, HALF_LIMIT = 1e-4, 2e-2
"""Largest difference over the largest output; the second where half precision takes part."""

MORE_RUNS = 6
"""Runs of a model that draws, beside the first."""

Model = Callable[[Sequence[Tensor]], Any]


def by_sample(graph: PartitionGraph, example: Sequence[Tensor], model: Model | None, name: str) -> PartitionGraph:
    """The graph, after other samples ran together, in another order, and each alone: two passes of the model, 4 of it.

    Args:
        graph: what was traced.
        example: flat tensors `[N, ...]`, which tell the input's range.
        model: what was traced, on flat tensors; None where only its graph is at hand.
        name: of the model, for messages.

    Returns:
        The graph; its notes say what these runs could not tell.

    Raises:
        NotBySampleError: when rows mix, or two runs differ; the message names the operation and its line.
        TraceError: when the graph computes something else than the model, or cannot be run on other samples.
    """
    if (drawn := drawing_operation(graph)) is not None:
        raise draws(graph, drawn)
    rows = ROWS if graph.fixed_batch in (None, 1) else graph.fixed_batch
    sizes = [vocabulary(graph, node) for node in graph.placeholders]
    runs, refused = None, list[Exception]()
    for run in dict.fromkeys((model, None)):  # a model may want the number of samples that it was exported with
        made = functools.partial(_Runs, graph, run)
        runs = runs or first_admitted(made, other_rows(example, rows, sizes), refused)
    if runs is None:
        reason = (str(refused[-1]).strip().splitlines() or [type(refused[-1]).__name__])[0][:200].rstrip(".")
        raise TraceError(
            f"{name} was traced, but cannot be run on {rows} other samples and on each of them alone: {reason}.",
            "Dimension 0 of every input and output must be the sample, any number of them.",
        )
    runs.refuse(name)
    runs.refuse_whole()
    return dataclasses.replace(graph, notes=(*graph.notes, *runs.notes())) if runs.notes() else graph


class _Runs:
    """What model and graph give for the same samples, together, once more, in another order, and one by one."""

    def __init__(self, graph: PartitionGraph, model: Model | None, inputs: tuple[Tensor, ...]) -> None:
        self.graph, self.inputs = graph, inputs
        rows = len(inputs[0])
        self.alone_rows = sorted({0, rows // 2, rows - 1})
        self.limit = HALF_LIMIT if _has_halves(graph) else LIMIT
        plain = functools.partial(graph.run, strict=False)
        with torch.no_grad():
            run = model or plain
            before = generator_states()
            self.first = flat_outputs(run([x.clone() for x in inputs]))
            self.draws = model is not None and generator_states() != before
            more = 0 if model is None else MORE_RUNS if self.draws else 1
            self.others = [flat_outputs(run([x.clone() for x in inputs])) for _ in range(more)]
            turned = plain([x.flip(0) for x in inputs])
            self.turned = [v if a is None else v.flip(a) for v, a in zip(turned, self._axes(), strict=True)]
            self.alone = {i: plain([x[i : i + 1] for x in inputs]) for i in self.alone_rows}

    def refuse(self, name: str) -> None:
        """Raise where these runs differ by more than rounding and ties explain."""
        steady = all(all(map(self._close, self.first, other)) for other in self.others)
        led = [axis is not None for axis in self._axes()]
        right = all(map(self._close, compress(self.turned, led), compress(self.first, led)))
        strayed = self._strayed()
        if steady and right and strayed is None:
            if (deciding := deciding_operation(self.graph, self.inputs, self._close)) is not None:
                raise decides(self.graph, deciding)
            return
        for inputs in (self.inputs, tuple(x.flip(0) for x in self.inputs)):
            culprit = mixing_operation(self.graph, inputs, self.alone_rows, self._close)
            if culprit is not None:
                raise mixes(self.graph, culprit)
        if not steady:
            raise unsteady(name, self.graph.writes)
        with torch.no_grad():
            same_order = self.graph.run(self.inputs)
        if not all(map(self._close, same_order, self.first)):
            raise TraceError(
                f"The graph that torch.export makes of {name} computes something else than the model.",
                "Export it yourself with torch.export.export and pass the .pt2.",
            )
        if strayed is not None and self.graph.axis_of(strayed.meta.get("val")) is None:
            raise mixes(self.graph, strayed)

    def refuse_whole(self) -> None:
        """Raise where nothing that is returned has one row a sample."""
        whole = self._whole()
        data = set(self.graph.data_nodes)
        if whole and len(whole) == len([r for r in self.graph.results if r in data]):
            raise mixes(self.graph, next(iter(self._of_all)))

    def notes(self) -> list[str]:
        """What these runs could not tell."""
        notes = [
            f"An output is one for the whole batch, not one a sample: {named(self.graph, node)}{line_of_node(node)}."
            for node in self._whole()
        ]
        within = next((n for n in self._of_all if n not in self.graph.results), None)
        if within is not None and not notes:
            notes.append(
                f"{named(self.graph, within)}{line_of_node(within)} reads all samples at once; with random ones that "
                "made no difference."
            )
        if self.draws:
            notes.append(
                f"The forward draws random numbers that no operation of its graph needs; {MORE_RUNS + 1} runs of it "
                "were equal, others may not be."
            )
        return notes + self._nothing_finite()

    def _nothing_finite(self) -> list[str]:
        floats = [v for v in self.first if isinstance(v, Tensor) and v.dtype.is_floating_point]
        if floats and not any(bool(v.isfinite().any()) for v in floats):
            return ["The model gives no finite number for random samples: whether samples mix could not be checked."]
        return []

    def _strayed(self) -> fx.Node | None:
        """A result that does not give each row alone what it gives it among others, there in the other order."""
        count = len(self.inputs[0])
        for i, alone in self.alone.items():
            for node, together, single, axis in zip(self.graph.results, self.turned, alone, self._axes(), strict=True):
                if not isinstance(node, fx.Node) or not isinstance(together, Tensor):
                    continue
                rows = (
                    [together.narrow(axis, i, 1)]
                    if axis is not None
                    else parts_of(together, count - 1 - i, count, single)
                )
                if rows and not any(self._close(single, row, scale=together) for row in rows):
                    return node
        return None

    def _whole(self) -> list[fx.Node]:
        """Results that depend on the input, but whose shape does not on the number of samples."""
        return [node for node in dict.fromkeys(self.graph.results) if node in self._of_all]

    @functools.cached_property
    def _of_all(self) -> dict[fx.Node, None]:
        """Nodes of the input's values whose shape does not depend on the number of samples."""
        found = dict.fromkeys(self.graph.data_nodes if self.graph.fixed_batch is None else ())
        values = [(node, node.meta.get("val")) for node in found]
        return {n: None for n, v in values if isinstance(v, Tensor) and not any(map(symbols_of, v.shape))}

    def _axes(self) -> list[int | None]:
        data = set(self.graph.data_nodes)
        return [self.graph.axis_of(r.meta.get("val")) if r in data else None for r in self.graph.results]

    def _close(self, found: Any, expected: Any, scale: Any = None) -> bool:
        return close(found, expected, self.limit, expected if scale is None else scale)


def close(found: Any, expected: Any, limit: float, scale: Any) -> bool:
    """Whether two values differ by at most `limit` of the largest finite number in `scale`; equal where not finite."""
    if not isinstance(found, Tensor) or not isinstance(expected, Tensor):
        return type(found) is type(expected) and bool(found == expected)
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    if not (expected.dtype.is_floating_point or expected.dtype.is_complex):
        return torch.equal(found, expected)
    wide = torch.complex128 if expected.dtype.is_complex else torch.float64
    a, b, size = found.to(wide), expected.to(wide), scale.to(wide).abs()
    largest = torch.where(size.isfinite(), size, 0.0).max() if size.numel() else 0.0
    same = (a == b) | (a.isnan() & b.isnan())
    return bool((same | ((a - b).abs() <= limit * largest)).all())


def same_values(graph: PartitionGraph, found: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Whether two runs on the same samples are equal but for rounding."""
    limit = HALF_LIMIT if _has_halves(graph) else LIMIT
    return len(found) == len(expected) and all(close(f, e, limit, e) for f, e in zip(found, expected, strict=True))


def flat_outputs(value: Any) -> list[Any]:
    """What a model returns, as its graph returns it."""
    return list(pytree.tree_leaves(value))


def _has_halves(graph: PartitionGraph) -> bool:
    values = [v for n in graph.data_nodes for v in pytree.tree_leaves(n.meta.get("val")) if isinstance(v, Tensor)]
    return any(v.dtype.is_floating_point and v.dtype.itemsize < 4 for v in values)
