"""Tr(JᵀJ) without probes: by every input direction where the input is small, by every output's gradient else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from advisor.derivatives.tangents import MICRO_BYTES, TangentEnergy, batch_energies
from advisor.graph import PartitionGraph
from advisor.progress import Progress, silence
from advisor.support.preserve import left_as_found, math_attention, plain_attention

EXACT_ELEMENTS = 64
"""Inputs of at most this many elements are differentiated in every direction."""

EXACT_NOTE = "exact: every direction of the input, no probes"


def unit_directions(inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """`[d, ...]` for each input, None for integers: the unit vectors of all floating-point inputs taken as one."""
    widths = [math.prod(x.shape[1:]) if x.dtype.is_floating_point else 0 for x in inputs]
    parts = torch.split(torch.eye(sum(widths)), widths, 1)
    return [
        part.reshape(-1, *x.shape[1:]).to(x.dtype) if x.dtype.is_floating_point else None
        for part, x in zip(parts, inputs, strict=True)
    ]


def exact_energies(
    graph: PartitionGraph,
    inputs: Sequence[Tensor],
    progress: Progress = silence,
    chunk: int = 64,
) -> dict[int, TangentEnergy]:
    """Tr(JᵀJ) of every sample at every cut, by all d unit vectors of the input: d tangents a sample, and no error.

    Args:
        graph: the traced model.
        inputs: flat tensors `[m, ...]`; derivatives are taken in the floating-point ones.
        progress: called after each micro-batch.
        chunk: directions at a time.

    Returns:
        One `TangentEnergy` a cut, by cut index; its `energy` is `[1, m]`.
    """
    units = unit_directions(inputs)
    elements = next(len(u) for u in units if u is not None)
    largest = max(graph.value_bytes(node) for node in graph.data_nodes) or 1
    step = max(1, min(len(inputs[0]), int(MICRO_BYTES / (largest * min(chunk, elements)))))
    parts: list[list[TangentEnergy]] = []
    with left_as_found(graph.module), plain_attention(), math_attention(), torch.no_grad():
        for start in range(0, len(inputs[0]), step):
            batch = [x[start : start + step] for x in inputs]
            parts.append(_whole(graph, batch, units, elements, chunk))
            progress(min(1.0, (start + step) / len(inputs[0])), "derivatives")
    return {index: _one_after_another([part[index] for part in parts]) for index in range(len(graph.cuts))}


def _whole(
    graph: PartitionGraph, batch: list[Tensor], units: Sequence[Tensor | None], elements: int, chunk: int
) -> list[TangentEnergy]:
    """One micro-batch in all directions, a few of them at a time."""
    found = []
    for start in range(0, elements, chunk):
        some = [None if u is None else u[start : start + chunk] for u in units]
        moving = [None if u is None else u[:, None].expand(-1, *x.shape) for u, x in zip(some, batch, strict=True)]
        found.append(batch_energies(graph, batch, moving, min(chunk, elements - start)))
    return [
        replace(first, energy=torch.cat([part[index].energy for part in found]).sum(0, keepdim=True))
        for index, first in sorted(found[0].items())
    ]


def _one_after_another(parts: list[TangentEnergy]) -> TangentEnergy:
    energy, signal = torch.cat([p.energy for p in parts], 1), torch.cat([p.signal for p in parts])
    problem = next((p.problem for p in parts if p.problem), "")
    return TangentEnergy(energy, signal, parts[0].elements, problem, EXACT_NOTE)
