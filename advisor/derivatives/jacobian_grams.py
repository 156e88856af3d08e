"""VᵀJᵀJV and Tr(JᵀJ) at every cut: what a spectrum-aware bound needs, without a matrix of the input's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from advisor.derivatives.tangents import MICRO_BYTES, walk
from advisor.graph import PartitionGraph
from advisor.measures.flat_rows import flat, side_by_side
from advisor.support.preserve import left_as_found, math_attention, plain_attention

TRACE_PROBES = 4


@dataclass(frozen=True, eq=False)
class JacobianGram:
    """Second moments of the tangents that cross one cut.

    Attributes:
        gram: `[samples, k, k]` float64, VᵀJᵀJV for k orthonormal directions V.
        trace: `[samples]` float64, Tr(JᵀJ): along V exact, across it by Hutchinson probes.
        prior: `[k]` variance of the inputs along V, in squared input units.
        elements: d, elements of one input.
        smoothing: standard deviation of the noise added to the inputs before, in input units.
        problem: why there are no tangents here; "" when there are.
    """

    gram: Tensor
    trace: Tensor
    prior: Tensor
    elements: int
    smoothing: float
    problem: str = ""


def leading_directions(inputs: Sequence[Tensor], most: int, whole: bool = False) -> tuple[list[Tensor | None], Tensor]:
    """Principal directions of the floating-point inputs taken as one vector.

    Args:
        inputs: flat tensors `[n, ...]`.
        most: directions at most; never more than the samples span.
        whole: all d directions instead, those that the samples do not span included.

    Returns:
        For each input `[k, ...]`, orthonormal over all inputs together, None for integers; and `[k]` variances.
    """
    floats = [x for x in inputs if x.dtype.is_floating_point]
    flat = side_by_side(floats).double()
    centred = flat - flat.mean(0)
    basis = torch.linalg.eigh(centred.T @ centred)[1].flip(1).T if whole else _spanned(centred, most)
    parts, start = list[Tensor | None](), 0
    for x in inputs:
        if not x.dtype.is_floating_point:
            parts.append(None)
            continue
        width = math.prod(x.shape[1:])
        parts.append(basis[:, start : start + width].reshape(-1, *x.shape[1:]).to(x.dtype))
        start += width
    return parts, (centred @ basis.T).square().sum(0) / max(1, len(flat) - 1)


def _spanned(centred: Tensor, most: int) -> Tensor:
    """`[k, d]` principal directions by the smaller problem of the samples."""
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    rank = int((values > 1e-9 * values[-1].clamp_min(1e-30)).sum())
    kept = slice(len(values) - min(most, rank, centred.shape[1]), None)
    basis: Tensor = torch.linalg.qr(centred.T @ vectors[:, kept])[0].flip(1).T
    return basis


def jacobian_grams(
    graph: PartitionGraph, inputs: Sequence[Tensor], samples: int, directions: int | None, smoothing: float, seed: int
) -> dict[int, JacobianGram]:
    """Tangents along the inputs' leading directions, at inputs smoothed by Gaussian noise, for all cuts in one pass.

    Args:
        graph: the traced model.
        inputs: flat tensors `[n, ...]`: all of them give the directions, the first `samples` the derivatives.
        samples: how many Jacobians to average.
        directions: k at most; None for all d, which leaves nothing to probes.
        smoothing: standard deviation of the noise on the inputs, in input units.
        seed: of that noise and of the probes.

    Returns:
        One `JacobianGram` a cut, by cut index.
    """
    basis, prior = leading_directions(inputs, directions or 0, directions is None)
    generator = torch.Generator().manual_seed(seed)
    probes = 0 if directions is None else TRACE_PROBES
    count = len(prior) + probes
    largest = max(graph.value_bytes(node) for node in graph.data_nodes) or 1
    step = max(1, min(samples, int(MICRO_BYTES / (largest * count))))
    parts: list[dict[int, tuple[Tensor, str]]] = []
    with left_as_found(graph.module), plain_attention(), math_attention(), torch.no_grad():
        for start in range(0, min(samples, len(inputs[0])), step):
            batch = [x[start : min(start + step, samples)] for x in inputs]
            moving = _moving(batch, basis, probes, generator)
            smooth = [_smoothed(x, smoothing, generator) for x in batch]
            parts.append(_second_moments(graph, smooth, moving, count))
    elements = sum(math.prod(v.shape[1:]) for v in basis if v is not None)
    return {
        index: _reduced(torch.cat([p[index][0] for p in parts]), prior, elements, smoothing,
                        next((p[index][1] for p in parts if p[index][1]), ""))
        for index in parts[0]
    }  # fmt: skip


def _moving(
    batch: Sequence[Tensor], basis: Sequence[Tensor | None], count: int, generator: torch.Generator
) -> list[Tensor | None]:
    """`[k + probes, n, ...]` an input: the directions, the same for each sample, and probes of their own across them.

    The probes are Rademacher ones less their part along V: what V holds is known without them.
    """
    probes = [_probes(x, v, count, generator) for x, v in zip(batch, basis, strict=True)]
    pairs = [
        (p.unsqueeze(-1).flatten(2), flat(v))
        for p, v in zip(probes, basis, strict=True)
        if p is not None and v is not None
    ]
    along = torch.stack([p @ v.T for p, v in pairs]).sum(0)
    moving = list[Tensor | None]()
    for x, v, p in zip(batch, basis, probes, strict=True):
        if v is None or p is None:
            moving.append(None)
            continue
        across = p - (along @ flat(v)).reshape(p.shape)
        moving.append(torch.cat([v[:, None].expand(-1, *x.shape), across]))
    return moving


def _probes(x: Tensor, basis: Tensor | None, count: int, generator: torch.Generator) -> Tensor | None:
    if basis is None:
        return None
    return (torch.randint(0, 2, (count, *x.shape), generator=generator, dtype=torch.int8) * 2 - 1).to(x.dtype)


def _smoothed(x: Tensor, smoothing: float, generator: torch.Generator) -> Tensor:
    if not x.dtype.is_floating_point or smoothing == 0:
        return x
    return x + (smoothing * torch.randn(x.shape, generator=generator)).to(x.dtype)


def _second_moments(
    graph: PartitionGraph, batch: list[Tensor], moving: list[Tensor | None], count: int
) -> dict[int, tuple[Tensor, str]]:
    """`[n, count, count]` inner products of the tangents at every cut, and what kept them from being taken."""
    rows = len(batch[0])
    found = {i: (torch.zeros(rows, count, count, dtype=torch.float64), "") for i in range(len(graph.activation_nodes))}
    wanted: dict[fx.Node, list[int]] = {}
    for index, nodes in enumerate(graph.activation_nodes):
        for node in nodes:
            wanted.setdefault(node, []).append(index)

    def at_node(node: fx.Node, primal: Any, tangent: Any, problem: str) -> None:
        indices = wanted.get(node, [])
        if not indices:
            return
        if primal.dim() == 0 or len(primal) != rows:
            tangent, problem = None, "an output does not lead with the batch"
        inner = torch.zeros(())
        if isinstance(tangent, Tensor):
            flat = (
                tangent.to(torch.promote_types(tangent.dtype, torch.float32)).reshape(count, rows, -1).transpose(0, 1)
            )
            inner = (flat @ flat.transpose(1, 2).conj()).real if flat.is_complex() else flat @ flat.transpose(1, 2)
        for index in indices:
            found[index] = found[index][0] + inner.double(), found[index][1] or problem

    walk(graph, batch, moving, at_node)
    return found


def _reduced(inner: Tensor, prior: Tensor, elements: int, smoothing: float, problem: str) -> JacobianGram:
    k = len(prior)
    lengths = inner.diagonal(dim1=1, dim2=2)
    trace = lengths[:, :k].sum(1) + (0 if k == elements else lengths[:, k:].mean(1))
    return JacobianGram(inner[:, :k, :k], trace, prior, elements, smoothing, problem)
