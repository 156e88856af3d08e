"""Reverse mode where an operator has no forward mode: ‖Jᵀu‖² in place of ‖Jv‖², one backward pass a cut and probe."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from advisor.graph import PartitionGraph
from advisor.preserve import left_as_found, math_attention, plain_attention
from advisor.pushforward import is_step, operator_name
from advisor.tangents import FORWARD_MISSING, TangentEnergy

ROWS = 8  # the whole recorded graph is held for these samples


def with_reverse_mode(
    graph: PartitionGraph, inputs: Sequence[Tensor], energies: dict[int, TangentEnergy], probes: int, seed: int
) -> dict[int, TangentEnergy]:
    """The energies, with those that no forward mode could give measured by reverse mode; each says so in its `note`.

    Tr(JJᵀ) = Tr(JᵀJ), so Rademacher probes u on what crosses serve as well as those on the input.

    Args:
        graph: the traced model.
        inputs: flat tensors `[m, ...]`, those that the energies are of.
        energies: by cut index.
        probes: directions a sample.
        seed: of the probes.

    Returns:
        As given, with the missing ones filled in or their problem completed by what reverse mode said.
    """
    missing = {i: e for i, e in energies.items() if e.problem.startswith(FORWARD_MISSING)}
    if not missing:
        return energies
    generator = torch.Generator().manual_seed(seed)
    parts: dict[int, list[tuple[Tensor, Tensor]]] = {index: [] for index in missing}
    problems: dict[int, str] = {i: p for i in missing if (p := _obstacle(graph, i))}
    with left_as_found(graph.module), plain_attention(), math_attention():
        for batch in zip(*(torch.split(x, ROWS) for x in inputs), strict=True):
            _one_batch(graph, batch, probes, generator, parts, problems)
    return energies | {i: _filled(e, parts[i], problems.get(i, "")) for i, e in missing.items()}


def _obstacle(graph: PartitionGraph, index: int) -> str:
    """Operations that stop a gradient but not what the value says of the input."""
    names = {operator_name(n) for n in graph.edge_nodes(index) if operator_name(n) == "detach" or is_step(n)}
    return f"reverse mode would not see through {', '.join(sorted(names))}" if names else ""


def _one_batch(
    graph: PartitionGraph, batch: Sequence[Tensor], probes: int, generator: torch.Generator,
    parts: dict[int, list[tuple[Tensor, Tensor]]], problems: dict[int, str],
) -> None:  # fmt: skip
    """One recorded run, then a backward pass a cut and probe."""
    wanted = {node for index in parts for node in graph.crossings[index]}
    held: dict[fx.Node, Any] = {}

    def at_node(node: fx.Node, value: Any) -> None:
        if node in wanted:
            held[node] = value

    with torch.enable_grad():
        moved = [x.detach().clone().requires_grad_() if x.dtype.is_floating_point else x for x in batch]
        graph.run(moved, at_node)
    sources = [x for x in moved if x.requires_grad]
    for index, entries in parts.items():
        if index in problems:
            continue
        crossing = [held[node] for node in graph.crossings[index]]
        signal = torch.stack([_square_lengths(z.detach(), len(batch[0])) for z in crossing]).sum(0)
        try:
            energy = torch.stack([_pulled(crossing, sources, generator) for _ in range(probes)])
        except (RuntimeError, NotImplementedError) as error:
            problems[index] = f"nor is reverse mode ({str(error).splitlines()[0][:120]})"
            continue
        entries.append((energy, signal))


def _pulled(crossing: Sequence[Tensor], sources: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """`[n]` ‖Jᵀu‖² for one Rademacher u a sample over all crossing tensors."""
    ends = [z for z in crossing if z.requires_grad]
    if len(ends) < sum(z.dtype.is_floating_point for z in crossing) or not ends:
        raise NotImplementedError("no gradient reaches the input")
    signs = [(torch.randint(0, 2, z.shape, generator=generator, dtype=torch.int8) * 2 - 1).to(z.dtype) for z in ends]
    found = torch.autograd.grad(ends, sources, signs, retain_graph=True, allow_unused=True)
    return torch.stack([_square_lengths(g, len(g)) for g in found if g is not None]).sum(0)


def _square_lengths(value: Tensor, rows: int) -> Tensor:
    return value.reshape(rows, -1).to(torch.float64).square().sum(1)


def _filled(energy: TangentEnergy, parts: list[tuple[Tensor, Tensor]], problem: str) -> TangentEnergy:
    if problem:
        return dataclasses.replace(energy, problem=f"{energy.problem}; {problem}")
    return dataclasses.replace(
        energy,
        energy=torch.cat([e for e, _ in parts], 1),
        signal=torch.cat([s for _, s in parts]),
        problem="",
        note=f"reverse mode, as {energy.problem.split(' (')[0]}",
    )
