"""A graph that was traced for few samples at a time: does it compute what the model does for more of them?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor

from advisor.data.synthetic.synthesis import vocabulary
from advisor.graph import PartitionGraph
from advisor.operations.symbols import SYMBOLIC
from advisor.tracing.drawing import first_admitted, other_rows
from advisor.tracing.independence import flat_outputs, same_values
from advisor.tracing.mixing_errors import NotBySampleError

MOST_NUMBERS = 2**25
"""Inputs of more numbers are not run: 128 MiB in float32."""


def most_samples(graph: PartitionGraph) -> int | None:
    """For how many samples at once the exporter vouches; None: any number, or the batch is frozen."""
    size = graph.placeholders[0].meta["val"].shape[0]
    if graph.fixed_batch is not None or not isinstance(size, SYMBOLIC):
        return None
    environment: Any = size.node.shape_env
    bound = environment.bound_sympy(size.node.expr)  # None where a program's file states no range
    return int(bound.upper) if bound is not None and isinstance(bound.upper, sympy.Integer) else None


def for_more_samples(
    graph: PartitionGraph, example: Sequence[Tensor], model: Callable[[Sequence[Tensor]], Any], name: str
) -> PartitionGraph:
    """The graph, after one sample more than the exporter vouches for ran through it and the model alike.

    Args:
        graph: what was traced.
        example: flat tensors `[N, ...]`, which tell the input's range.
        model: what was traced, on flat tensors.
        name: of the model, for messages.

    Returns:
        The graph; its notes say where the model itself takes no more samples.

    Raises:
        NotBySampleError: when the model computes something else for more samples.
    """
    most = most_samples(graph)
    if most is None or (most + 1) * sum(spec.elements for spec in graph.inputs.tensors) > MOST_NUMBERS:
        return graph

    def both(inputs: tuple[Tensor, ...]) -> tuple[Sequence[Any], Sequence[Any]]:
        wanted = flat_outputs(model([x.clone() for x in inputs]))
        return wanted, graph.run(inputs, strict=False)

    sizes = [vocabulary(graph, node) for node in graph.placeholders]
    with torch.no_grad():
        runs = first_admitted(both, other_rows(example, most + 1, sizes))
    if runs is None:
        note = f"{name} takes at most {most} samples at once; its halves take any number."
        return dataclasses.replace(graph, notes=(*graph.notes, note))
    if not same_values(graph, *runs):
        raise NotBySampleError(
            f"{name} computes something else for more than {most} samples at once: a branch depends on their number.",
            "Let x.shape[0] decide nothing in the forward.",
        )
    return graph
