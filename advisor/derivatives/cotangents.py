"""Reverse mode: ‖Jᵀu‖² in place of ‖Jv‖², one backward pass a cut and u.

Where an operator has no forward mode, for random u; where next to nothing crosses, for every u there is: exact.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from advisor.derivatives.pushforward import is_step, operator_name
from advisor.derivatives.tangents import FORWARD_MISSING, TangentEnergy
from advisor.errors import first_line
from advisor.graph import PartitionGraph
from advisor.support.preserve import left_as_found, math_attention, plain_attention

ROWS = 8  # the whole recorded graph is held for these samples

EXACT_ENDS_NOTE = "exact: the gradient of every number that crosses, no probes"

EnergyOf = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


def with_reverse_mode(
    graph: PartitionGraph, inputs: Sequence[Tensor], energies: dict[int, TangentEnergy], probes: int, seed: int
) -> dict[int, TangentEnergy]:
    """The energies, with those that no forward mode could give measured by reverse mode; each says so in its `note`.

    Tr(JJᵀ) = Tr(JᵀJ), so Rademacher probes u on the activation serve as well as those on the input.

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

    def drawn(ends: Sequence[Tensor], sources: Sequence[Tensor]) -> Tensor:
        return torch.stack([_pulled(ends, sources, [_signs(z, generator) for z in ends]) for _ in range(probes)])

    parts, problems = _pulled_back(graph, inputs, list(missing), drawn)
    return energies | {i: _filled(e, parts[i], problems.get(i, "")) for i, e in missing.items()}


def with_exact_ends(
    graph: PartitionGraph, inputs: Sequence[Tensor], energies: dict[int, TangentEnergy]
) -> dict[int, TangentEnergy]:
    """The energies, with those of cuts that no more numbers cross than there were probes replaced by exact ones.

    Probes of few dimensions are off by up to √2 each, and D gradients leave no error.

    Args:
        graph: the traced model.
        inputs: flat tensors `[m, ...]`, those that the energies are of.
        energies: by cut index; those that reverse mode cannot give stay as they are.
    """
    few = [
        c for c in graph.cuts if c.elements <= len(energies[c.index].energy) and all(t.is_floating for t in c.tensors)
    ]
    narrow = [c.index for c in few if not energies[c.index].problem]
    if not narrow:
        return energies
    parts, problems = _pulled_back(graph, inputs, narrow, _every_gradient)
    exact = {i: _replaced(energies[i], parts[i], EXACT_ENDS_NOTE) for i in narrow if i not in problems}
    return energies | exact


def _every_gradient(ends: Sequence[Tensor], sources: Sequence[Tensor]) -> Tensor:
    """`[1, n]` Σ ‖∇z_j‖² over all numbers that cross."""
    total = []
    for number, z in enumerate(ends):
        for j in range(math.prod(z.shape[1:])):
            one = torch.zeros_like(z).reshape(len(z), -1)
            one[:, j] = 1
            units = [one.reshape(z.shape) if i == number else torch.zeros_like(e) for i, e in enumerate(ends)]
            total.append(_pulled(ends, sources, units))
    return torch.stack(total).sum(0, keepdim=True)


def _pulled_back(
    graph: PartitionGraph, inputs: Sequence[Tensor], cuts: Sequence[int], energy_of: EnergyOf
) -> tuple[dict[int, list[tuple[Tensor, Tensor]]], dict[int, str]]:
    """Energy and signal of each micro-batch by cut, and what kept a cut from being measured."""
    parts: dict[int, list[tuple[Tensor, Tensor]]] = {index: [] for index in cuts}
    problems: dict[int, str] = {i: p for i in cuts if (p := _obstacle(graph, i))}
    with left_as_found(graph.module), plain_attention(), math_attention():
        for batch in zip(*(torch.split(x, ROWS) for x in inputs), strict=True):
            _one_batch(graph, batch, energy_of, parts, problems)
    return parts, problems


def _obstacle(graph: PartitionGraph, index: int) -> str:
    """Operations that stop a gradient but not what the value says of the input."""
    names = {operator_name(n) for n in graph.edge_nodes(index) if operator_name(n) == "detach" or is_step(n)}
    return f"reverse mode would not see through {', '.join(sorted(names))}" if names else ""


def _one_batch(
    graph: PartitionGraph, batch: Sequence[Tensor], energy_of: EnergyOf,
    parts: dict[int, list[tuple[Tensor, Tensor]]], problems: dict[int, str],
) -> None:  # fmt: skip
    """One recorded run, then the backward passes of each cut."""
    wanted = {node for index in parts for node in graph.activation_nodes[index]}
    held: dict[fx.Node, Any] = {}

    def at_node(node: fx.Node, value: Any) -> None:
        if node in wanted:
            held[node] = value

    with torch.enable_grad():
        moved = [x.detach().clone().requires_grad_() if x.dtype.is_floating_point else x for x in batch]
        try:
            graph.run(moved, at_node)
        except (RuntimeError, NotImplementedError) as error:  # an operator that records nothing, for some types
            problems |= dict.fromkeys(parts, f"nor is reverse mode ({first_line(error, 120)})") | problems
            return
    sources = [x for x in moved if x.requires_grad]
    for index, entries in parts.items():
        if index in problems:
            continue
        crossing = [held[node] for node in graph.activation_nodes[index]]
        signal = torch.stack([_square_lengths(z.detach(), len(batch[0])) for z in crossing]).sum(0)
        try:
            energy = energy_of(_ends(crossing), sources)
        except RuntimeError as error:
            problems[index] = f"nor is reverse mode ({first_line(error, 120)})"
            continue
        entries.append((energy, signal))


def _ends(crossing: Sequence[Tensor]) -> list[Tensor]:
    """The activations that a gradient leads back from.

    Raises:
        RuntimeError: none, or fewer than there are tensors of floating point.
    """
    ends = [z for z in crossing if z.requires_grad]
    if len(ends) < sum(z.dtype.is_floating_point for z in crossing) or not ends:
        raise RuntimeError("no gradient reaches the input")
    return ends


def _signs(z: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, z.shape, generator=generator, dtype=torch.int8) * 2 - 1).to(z.dtype)


def _pulled(ends: Sequence[Tensor], sources: Sequence[Tensor], directions: Sequence[Tensor]) -> Tensor:
    """`[n]` ‖Jᵀu‖² for one u a sample over all activations."""
    found = torch.autograd.grad(ends, sources, directions, retain_graph=True, allow_unused=True)
    return torch.stack([_square_lengths(g, len(g)) for g in found if g is not None]).sum(0)


def _square_lengths(value: Tensor, rows: int) -> Tensor:
    flat = value.reshape(rows, -1)
    return (flat.abs() if flat.is_complex() else flat).to(torch.float64).square().sum(1)


def _filled(energy: TangentEnergy, parts: list[tuple[Tensor, Tensor]], problem: str) -> TangentEnergy:
    if problem:
        return dataclasses.replace(energy, problem=f"{energy.problem}; {problem}")
    return _replaced(energy, parts, f"reverse mode, as {energy.problem.split(' (')[0]}")


def _replaced(energy: TangentEnergy, parts: list[tuple[Tensor, Tensor]], note: str) -> TangentEnergy:
    found, signal = torch.cat([e for e, _ in parts], 1), torch.cat([s for _, s in parts])
    return dataclasses.replace(energy, energy=found, signal=signal, problem="", note=note)
