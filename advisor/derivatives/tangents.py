"""Forward-mode derivatives for every cut in one forward pass: J v for k probe directions v beside the primal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from advisor.derivatives.embeddings import looked_up
from advisor.derivatives.pushforward import Operation, is_step, operator_name, push
from advisor.errors import first_line
from advisor.graph import PartitionGraph
from advisor.progress import Progress, silence
from advisor.support.preserve import left_as_found, math_attention, plain_attention

EMBEDDED = "the inputs are discrete: derivatives with respect to the output of the embeddings, in its units"
FORWARD_MISSING = "forward mode is not implemented for "
MICRO_BYTES = 28 * 2**20
"""Memory for the largest tangent of one micro-batch: above 32 MB an allocator asks the system for fresh pages."""


@dataclass(frozen=True, eq=False)
class TangentEnergy:
    """Squared lengths of the tangents that cross a cut.

    Attributes:
        energy: `[probes, samples]` float64, ‖J v‖² over all crossing elements; its mean over probes is Tr(JᵀJ).
        signal: `[samples]` float64, ‖z‖².
        elements: d, elements of one input.
        problem: why there are no tangents here; "" when there are.
        note: how they were had, where not in forward mode.
    """

    energy: Tensor
    signal: Tensor
    elements: int
    problem: str = ""
    note: str = ""


def tangent_energies(
    graph: PartitionGraph,
    inputs: Sequence[Tensor],
    probes: int,
    seed: int,
    progress: Progress = silence,
) -> dict[int, TangentEnergy]:
    """‖J v‖² at every cut for Rademacher probes v (Hutchinson 1990), a few samples at a time.

    Args:
        graph: the traced model.
        inputs: flat tensors `[m, ...]`; derivatives are taken in the floating-point ones, where there are none at the
            output of the embeddings.
        probes: number k of directions, the same number for each sample, drawn independently.
        seed: of the probes.
        progress: called after each micro-batch.

    Returns:
        One `TangentEnergy` a cut, by cut index.
    """
    rows = inputs[0].shape[0]
    largest = max(graph.value_bytes(node) for node in graph.data_nodes) or 1
    step = max(1, min(rows, int(MICRO_BYTES / (largest * probes))))
    generator, starts = torch.Generator().manual_seed(seed), looked_up(graph)
    floats = any(x.dtype.is_floating_point for x in inputs)
    parts: list[dict[int, TangentEnergy]] = []
    with left_as_found(graph.module), plain_attention(), math_attention(), torch.no_grad():
        for start in range(0, rows, step):
            batch = [x[start : start + step] for x in inputs]
            directions = [
                _rademacher((probes, *x.shape), x.dtype, generator) if x.dtype.is_floating_point else None
                for x in batch
            ]
            seeds = {} if floats else _seeds(graph, starts, probes, len(batch[0]), generator)
            parts.append(batch_energies(graph, batch, directions, probes, seeds))
            progress(min(1.0, (start + step) / rows), "derivatives")
    return {index: _joined([part[index] for part in parts]) for index in parts[0]}


def _seeds(
    graph: PartitionGraph, starts: Sequence[fx.Node], probes: int, rows: int, generator: torch.Generator
) -> dict[fx.Node, Tensor]:
    shapes = {node: (probes, rows, *spec.shape) for node in starts if (spec := graph.spec(node)) is not None}
    return {node: _rademacher(shape, node.meta["val"].dtype, generator) for node, shape in shapes.items()}


def _rademacher(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, shape, generator=generator, dtype=torch.int8) * 2 - 1).to(dtype)


def _joined(parts: list[TangentEnergy]) -> TangentEnergy:
    problem = next((p.problem for p in parts if p.problem), "")
    return TangentEnergy(
        torch.cat([p.energy for p in parts], 1), torch.cat([p.signal for p in parts]), parts[0].elements, problem,
        parts[0].note,
    )  # fmt: skip


def batch_energies(
    graph: PartitionGraph, batch: Sequence[Tensor], directions: Sequence[Tensor | None], probes: int,
    seeds: Mapping[fx.Node, Tensor] | None = None,
) -> dict[int, TangentEnergy]:  # fmt: skip
    """‖J v‖² at every cut for given directions, `[probes, n, ...]` an input or a seed; all samples at once."""
    found: dict[int, list[tuple[Tensor, Tensor, str]]] = {i: [] for i in range(len(graph.activation_nodes))}
    wanted: dict[fx.Node, list[int]] = {}
    for index, nodes in enumerate(graph.activation_nodes):
        for node in nodes:
            wanted.setdefault(node, []).append(index)

    def at_node(node: fx.Node, primal: Any, tangent: Any, problem: str) -> None:
        for index in wanted.get(node, []):
            if primal.dim() == 0 or len(primal) != len(batch[0]):
                primal, tangent = batch[0].new_full((len(batch[0]),), math.nan), None
                problem = "an output does not lead with the batch"
            moved = _lengths(tangent, 2) if isinstance(tangent, Tensor) else torch.zeros(probes, len(batch[0]))
            found[index].append((moved, _lengths(primal, 1), problem))

    walk(graph, batch, directions, at_node, seeds)
    given = [v for v in (*directions, *(seeds or {}).values()) if v is not None]
    elements = sum(math.prod(v.shape[2:]) for v in given)
    note = EMBEDDED if seeds else ""
    return {index: replace(_total(entries, elements), note=note) for index, entries in found.items()}


def _total(entries: list[tuple[Tensor, Tensor, str]], elements: int) -> TangentEnergy:
    """Over all tensors that cross one cut; where one alone has no derivative, the cut has none."""
    energy = torch.stack([e.double() for e, _, _ in entries]).square().sum(0)
    signal = torch.stack([s.double() for _, s, _ in entries]).square().sum(0)
    return TangentEnergy(energy, signal, elements, next((p for *_, p in entries if p), ""))


def _lengths(value: Tensor, leading: int) -> Tensor:
    """Euclidean length of all dimensions after the first `leading`; halves are widened first."""
    flat = value.flatten(leading) if value.dim() > leading else value.unsqueeze(leading)
    wide = flat if flat.dtype == torch.float32 else flat.to(torch.promote_types(flat.dtype, torch.float32))
    lengths: Tensor = torch.linalg.vector_norm(wide, dim=leading)
    return lengths


def walk(
    graph: PartitionGraph,
    inputs: Sequence[Tensor],
    directions: Sequence[Tensor | None],
    at_node: Callable[[fx.Node, Any, Any, str], None],
    seeds: Mapping[fx.Node, Tensor] | None = None,
) -> None:
    """Run the model with tangents.

    Args:
        graph: the traced model.
        inputs: flat tensors `[N, ...]`.
        directions: `[k, N, ...]` for each input, None for one in which no derivative is taken.
        at_node: called as (node, primal `[N, ...]`, tangent `[k, N, ...]` or None, problem) after each operation; a
            value without tangent and without problem does not depend on the inputs. A tangent's memory may be written
            over when the call returns: copy what is to be kept.
        seeds: `[k, N, ...]` at operations where derivatives start, such as embeddings of integer inputs; integers
            beside them only select.
    """
    _Walk(graph, inputs, directions, at_node, seeds or {}).run(inputs)


class _Walk:
    def __init__(
        self,
        graph: PartitionGraph,
        inputs: Sequence[Tensor],
        directions: Sequence[Tensor | None],
        at_node: Callable[[fx.Node, Any, Any, str], None],
        seeds: Mapping[fx.Node, Tensor],
    ) -> None:
        self.graph = graph
        self.at_node = at_node
        self.batching = graph.batching(inputs[0].shape[0], always_group=True)
        self.left = dict(graph.uses)
        self.primals: dict[fx.Node, Any] = {}
        self.tangents: dict[fx.Node, Any] = {}
        self.problems: dict[fx.Node, str] = {}
        self.owned: set[fx.Node] = set()
        self.seeds, self.selecting = seeds, set[fx.Node]()
        for node, value, direction in zip(graph.placeholders, inputs, directions, strict=True):
            if direction is None:
                kind = str(value.dtype).removeprefix("torch.")
                self.problems[node] = f"the input {node.name} is {kind}: it has no derivative"
                self.selecting |= {node} if seeds else set()
            else:
                self.tangents[node] = torch.stack([self.batching.enter(v) for v in direction])

    def run(self, inputs: Sequence[Tensor]) -> None:
        self.graph.interpret(inputs, self.batching, self._observe)

    def _observe(self, node: fx.Node, primal: Any) -> None:
        self.primals[node] = primal
        if node.op == "call_function" and node in self.batching.data:
            self._advance(node, primal)
        if node in self.batching.data:
            tangent = self.tangents.get(node)
            shown = None if tangent is None else self._outside(node, tangent)
            self.at_node(node, self.batching.leave(node, primal), shown, self.problems.get(node, ""))
        for source in node.all_input_nodes:
            self.left[source] -= 1
            if not self.left[source]:
                self.primals.pop(source, None)
                self.tangents.pop(source, None)

    def _advance(self, node: fx.Node, primal: Any) -> None:
        sources = [s for s in node.all_input_nodes if s in self.batching.data]
        moving = [s for s in sources if s in self.tangents]
        broken = [s for s in sources if self._matters(s, moving)]
        if node in self.seeds:
            self.tangents[node] = torch.stack([self.batching.enter(v) for v in self.seeds[node]])
        elif broken:
            self.problems[node] = self.problems[broken[0]]
            self.selecting |= {node} if self.selecting.issuperset(broken) else set()
        elif not _differentiable(primal):
            self.problems[node] = f"{operator_name(node)} returns {_kind(primal)}: it has no derivative"
        elif is_step(node):
            self.problems[node] = f"{operator_name(node)} is a step function: its derivative says nothing"
        else:
            try:
                consume = len(moving) == 1 and moving[0] in self.owned and self.left[moving[0]] == 1
                self.tangents[node] = push(self._operation(node), self.tangents, primal, consume)
                self._own(node, moving, consume)
            except (RuntimeError, NotImplementedError) as error:
                self.problems[node] = f"{FORWARD_MISSING}{operator_name(node)} ({first_line(error)})"

    def _matters(self, source: fx.Node, moving: Sequence[fx.Node]) -> bool:
        """A missing derivative spoils what follows; an integer beside a tangent (an index, a mask) only selects."""
        if source not in self.problems:
            return False
        spoils = _differentiable(source.meta.get("val")) and source not in self.selecting
        return spoils or not moving

    def _own(self, node: fx.Node, moving: Sequence[fx.Node], consumed: bool) -> None:
        """Whether nobody else holds the memory of a new tangent, so that it may be written over at its last use."""
        new = self.tangents[node]
        if not isinstance(new, Tensor):
            self.owned.difference_update(moving)
            return
        sharing = [s for s in moving if _storages(self.tangents[s]) & _storages(new)]
        if not sharing or consumed:
            self.owned.add(node)
        else:
            self.owned.difference_update(sharing)

    def _operation(self, node: fx.Node) -> Operation:
        leaves, structure = pytree.tree_flatten((node.args, node.kwargs))
        values = [
            (self.graph.constant(n) if n.op == "get_attr" else self.primals[n]) if isinstance(n, fx.Node) else n
            for n in leaves
        ]
        return Operation(node, leaves, structure, values, self.batching)

    def _outside(self, node: fx.Node, tangent: Any) -> Any:
        if self.batching.size is None or not isinstance(tangent, Tensor):
            return tangent
        return torch.stack([self.batching.leave(node, t) for t in tangent])


def _storages(value: Any) -> set[int]:
    return {t.untyped_storage().data_ptr() for t in pytree.tree_leaves(value) if isinstance(t, Tensor)}


def _differentiable(value: Any) -> bool:
    first = next((v for v in pytree.tree_leaves(value) if isinstance(v, Tensor)), None)
    return first is not None and (first.dtype.is_floating_point or first.dtype.is_complex)


def _kind(value: Any) -> str:
    first = next((v for v in pytree.tree_leaves(value) if isinstance(v, Tensor)), None)
    return "no tensor" if first is None else str(first.dtype).removeprefix("torch.")
