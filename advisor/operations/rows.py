"""Which values hold one row a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from advisor.operations.flat_model import FlatModel


def not_by_row(model: FlatModel, nodes: Sequence[fx.Node]) -> frozenset[fx.Node]:
    """Those of `nodes` whose rows do not move along when the samples of the batch do."""
    wanted, seen = frozenset(nodes), []
    inputs = [_random_like(x) for x in model.example_inputs]
    for shift in (0, 1):
        values: dict[fx.Node, Any] = {}

        def keep(node: fx.Node, value: Any, values: dict[fx.Node, Any] = values) -> None:
            if node in wanted:
                values[node] = value

        with torch.no_grad():
            model.run([x.roll(shift, 0) for x in inputs], keep)
        seen.append(values)
    return frozenset(n for n in nodes if not _rolled(seen[0][n], seen[1][n]))


def _random_like(value: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if value.dtype.is_floating_point:
        return torch.rand(value.shape, generator=generator).to(value.dtype)
    return torch.randint(0, 2, value.shape, generator=generator).to(value.dtype)


def _rolled(first: Any, second: Any) -> bool:
    if not isinstance(first, Tensor) or first.dim() == 0:
        return False
    return torch.allclose(first.roll(1, 0).double(), second.double(), rtol=1e-2, atol=1e-3, equal_nan=True)


def parts_of(together: Tensor, row: int, count: int, single: Any) -> list[Tensor]:
    """What may be one sample's part of a result whose samples lie side by side (`[N·T, ...]`); none where none do."""
    if not isinstance(single, Tensor) or single.dim() != together.dim():
        return []
    pairs = enumerate(zip(together.shape, single.shape, strict=True))
    axes = [axis for axis, (among, alone) in pairs if among != alone]
    if len(axes) != 1 or together.shape[axes[0]] != count * single.shape[axes[0]]:
        return []
    axis, size = axes[0], single.shape[axes[0]]
    turns = torch.arange(row, together.shape[axis], count, device=together.device)
    return [together.narrow(axis, row * size, size), together.index_select(axis, turns)]
