"""What a model takes: flattening user inputs, and rebuilding an example from their recorded shapes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from advisor.cuts import TensorSpec
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class InputSpec:
    """Shapes of the model's inputs, so that it can be traced again without the user's example.

    Attributes:
        tensors: one spec an input.
        keywords: name of each input that goes by keyword, "" for a positional one.
        normalization: (mean, std) per channel applied as the first node of the graph, or None.
    """

    tensors: tuple[TensorSpec, ...]
    keywords: tuple[str, ...]
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def example(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A batch of two zeros for each input, as (args, kwargs)."""
        import torch

        zeros = [torch.zeros((2, *spec.shape), dtype=getattr(torch, spec.dtype)) for spec in self.tensors]
        args = tuple(z for z, key in zip(zeros, self.keywords, strict=True) if not key)
        return args, {key: z for z, key in zip(zeros, self.keywords, strict=True) if key}


def arguments(example: Any, model: nn.Module | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """User inputs as (args, kwargs): a tensor, a tuple of them, or a dict by argument name."""
    import torch

    if isinstance(example, torch.Tensor):
        return (example,), {}
    if isinstance(example, dict):
        names = _forward_names(model)
        return ((), dict(example)) if names is None or set(example) <= names else ((example,), {})
    if isinstance(example, tuple | list):
        return tuple(example), {}
    raise DataError(
        f"Inputs of type {type(example).__name__} are not supported.", "Pass a tensor, or a tuple or dict of tensors."
    )


def leaves(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors in (args, kwargs), in torch.export's order."""
    import torch
    from torch.utils import _pytree as pytree

    flat = pytree.tree_leaves((args, kwargs))
    return [leaf for leaf in flat if isinstance(leaf, torch.Tensor)]


def paired(example: Any) -> Any:
    """The example with a batch of at least 2: a batch of 1 is frozen into the graph or refused by the tracer."""
    import torch
    from torch.utils import _pytree as pytree

    tensors = [leaf for leaf in pytree.tree_leaves(example) if isinstance(leaf, torch.Tensor)]
    if not tensors:
        raise DataError("The example inputs hold no tensor.", "Pass example_inputs with a batch dimension.")
    if any(t.dim() == 0 for t in tensors):
        raise DataError("An example input has no batch dimension.", "Give every input a leading batch dimension.")
    if any(t.shape[0] == 0 for t in tensors):
        raise DataError("The example inputs are empty.", "Pass at least one sample.")

    def repeat(leaf: Any) -> Any:
        return (
            leaf.repeat(2, *(1,) * (leaf.dim() - 1)) if isinstance(leaf, torch.Tensor) and leaf.shape[0] == 1 else leaf
        )

    return pytree.tree_map(repeat, example)


def _forward_names(model: nn.Module | None) -> set[str] | None:
    if model is None:
        return None
    try:
        parameters = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    return set(parameters)
