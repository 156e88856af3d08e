"""Programs whose owner froze the batch: they run on any batch, in groups of the frozen size, under `vmap`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from advisor.errors import DataError


class Grouped(nn.Module):
    """Runs a program of fixed batch size on any batch; a single group runs as it is, so that it stays exact."""

    def __init__(self, body: nn.Module, size: int) -> None:
        super().__init__()
        self.body = body
        self.size = size

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Same inputs and outputs as the body, any batch size.

        Raises:
            DataError: when an output does not lead with the batch, so that groups cannot be joined.
        """
        rows = next(t.shape[0] for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        if rows <= self.size:
            args, kwargs = pytree.tree_map_only(Tensor, lambda t: padded(t, self.size), (args, kwargs))
            result = self.body(*args, **kwargs)
            return (
                result
                if rows == self.size
                else pytree.tree_map_only(Tensor, lambda t: joined(t, rows, self.size, groups=False), result)
            )
        args, kwargs = pytree.tree_map_only(Tensor, lambda t: group(t, self.size), (args, kwargs))
        result = over_groups(lambda a, k: self.body(*a, **k), args, kwargs)
        return pytree.tree_map_only(Tensor, lambda t: joined(t, rows, self.size, groups=True), result)


class Batching:
    """How one run of a graph takes its samples: as they are, padded to the frozen batch, or in groups of it.

    Args:
        size: the frozen batch, None for a dynamic one.
        rows: samples of this run.
        data: nodes that carry the batch; others are constants.
        always_group: make groups even where there is only one, so that all values have the same rank.
    """

    def __init__(self, size: int | None, rows: int, data: frozenset[fx.Node], always_group: bool = False) -> None:
        self.size = size
        self.rows = rows
        self.data = data
        self.groups = size is not None and (always_group or rows > size)

    def enter(self, value: Tensor) -> Tensor:
        """An input `[N, ...]` as the operations get it."""
        if self.size is None:
            return value
        return group(value, self.size) if self.groups else padded(value, self.size)

    def leave(self, node: fx.Node, value: Any, strict: bool = False) -> Any:
        """A computed value as listeners get it, `[N, ...]`; what does not lead with the batch stays as it is.

        Raises:
            DataError: for what does not lead with the batch, when `strict`.
        """
        size = self.size
        if size is None or node not in self.data or (not self.groups and self.rows == size):
            return value

        def outside(tensor: Tensor) -> Tensor:
            if not strict and not _leads(tensor, size, self.groups):
                return tensor
            return joined(tensor, self.rows, size, self.groups)

        return pytree.tree_map_only(Tensor, outside, value)

    def call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """Run one operation."""
        if self.groups and node in self.data:
            leaves, structure = pytree.tree_flatten((node.args, node.kwargs))
            return self.evaluate(node, leaves, structure, structure.flatten_up_to((args, kwargs)))
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def evaluate(self, node: fx.Node, leaves: Sequence[Any], structure: pytree.TreeSpec, values: Sequence[Any]) -> Any:
        """Run one operation on flat argument values; where there are groups, data arguments carry them first."""
        moving = [i for i, leaf in enumerate(leaves) if isinstance(leaf, fx.Node) and leaf in self.data]

        def call(*moved: Any) -> Any:
            merged = list(values)
            for position, value in zip(moving, moved, strict=True):
                merged[position] = value
            args, kwargs = pytree.tree_unflatten(merged, structure)
            return node.target(*args, **kwargs)  # type: ignore[operator]

        inputs = [values[i] for i in moving]
        return over_groups(call, *inputs) if self.groups and moving else call(*inputs)


def padded(value: Tensor, size: int) -> Tensor:
    """`[N, ...]` with the last sample repeated until `size` divides the number of rows."""
    missing = -value.shape[0] % size
    return torch.cat([value, value[-1:].expand(missing, *value.shape[1:])]) if missing else value


def group(value: Tensor, size: int) -> Tensor:
    """`[N, ...]` as `[ceil(N / size), size, ...]`, the last sample repeated to fill the last group."""
    value = padded(value, size)
    return value.view(value.shape[0] // size, size, *value.shape[1:])


def joined(value: Tensor, rows: int, size: int, groups: bool) -> Tensor:
    """The first `rows` samples of a padded batch, or of groups `[G, size, ...]`.

    Raises:
        DataError: when the value does not lead with the batch.
    """
    if not _leads(value, size, groups):
        raise DataError(
            f"An output of this program does not lead with the batch, which was exported as {size}.",
            f"Pass exactly {size} samples, or export the model with a dynamic batch.",
        )
    return (value.flatten(0, 1) if groups else value)[:rows]


def _leads(value: Tensor, size: int, groups: bool) -> bool:
    return value.dim() > groups and value.shape[int(groups)] == size


def over_groups(function: Callable[..., Any], *args: Any) -> Any:
    """A function over the first dimension of all tensors: by `torch.vmap`, or one by one where an operator has no rule.

    What it returns beside tensors is taken from one of the calls.
    """
    rest: list[Any] = []

    def tensors(*moved: Any) -> tuple[Tensor, ...]:
        flat, structure = pytree.tree_flatten(function(*moved))
        rest[:] = [[None if isinstance(v, Tensor) else (v,) for v in flat], structure]
        return tuple(v for v in flat if isinstance(v, Tensor))

    try:
        mapped = torch.vmap(tensors)(*args)
    except (RuntimeError, NotImplementedError):  # an error that is not vmap's own comes again
        count = len(next(t for t in pytree.tree_leaves(args) if isinstance(t, Tensor)))
        calls = [tensors(*(_row(arg, i) for arg in args)) for i in range(count)]
        mapped = tuple(torch.stack(parts) for parts in zip(*calls, strict=True))
    found = iter(mapped)
    others, structure = rest
    return pytree.tree_unflatten([next(found) if other is None else other[0] for other in others], structure)


def _row(value: Any, number: int) -> Any:
    return pytree.tree_map_only(Tensor, lambda t: t[number], value)
