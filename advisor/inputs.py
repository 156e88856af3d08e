"""What a model takes: flattening user inputs, and rebuilding an example from their recorded shapes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from advisor.cuts import TensorSpec
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class InputSpec:
    """Shapes of the model's inputs, so that it can be traced again without the user's example.

    Attributes:
        tensors: one spec an input.
        keywords: name of each input that goes by keyword, "" for a positional one.
        normalization: (mean, std) per channel applied as the first node of the graph, or None.
        structure: nesting of (args, kwargs): "tensor", or a tuple, list or dict of nestings; None where an input is of
            a type of its own, whose example cannot be rebuilt.
    """

    tensors: tuple[TensorSpec, ...]
    keywords: tuple[str, ...]
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    structure: Any = None

    def example(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A batch of two zeros for each input, as (args, kwargs).

        Raises:
            DataError: when an input is of a type of its own.
        """
        import torch

        if self.structure is None:
            raise DataError("The model takes an input of a type of its own.", "Pass example_inputs.")
        zeros = iter([torch.zeros((2, *spec.shape), dtype=getattr(torch, spec.dtype)) for spec in self.tensors])
        args, kwargs = (rebuilt(part, zeros) for part in self.structure)
        return tuple(args), kwargs


def nesting(spec: pytree.TreeSpec) -> Any:
    """How a value is nested, in plain JSON values: "tensor", ["tuple", ...], ["list", ...] or {name: ...}.

    None where it holds a type of its own.
    """
    if spec.is_leaf():
        return "tensor"
    inner = [nesting(child) for child in spec.children()]
    if spec.type not in (tuple, list, dict) or any(part is None for part in inner):
        return None
    if spec.type is dict:
        return dict(zip(spec.context, inner, strict=True)) if all(isinstance(k, str) for k in spec.context) else None
    return [spec.type.__name__, *inner]


def rebuilt(structure: Any, tensors: Iterator[Tensor]) -> Any:
    """The inverse of `nesting`, filled with `tensors` in order."""
    if structure == "tensor":
        return next(tensors)
    if isinstance(structure, dict):
        return {name: rebuilt(part, tensors) for name, part in structure.items()}
    parts = [rebuilt(part, tensors) for part in structure[1:]]
    return tuple(parts) if structure[0] == "tuple" else parts


def flattened(x: Any, spec: pytree.TreeSpec, names: Sequence[str]) -> list[Tensor]:
    """The tensors of user inputs `x` in the order of the traced model's (args, kwargs).

    Inputs may be given as when tracing; by name in a dict; or as a tuple of all tensors in order.

    Raises:
        DataError: when they fit in none of these ways.
    """
    import torch
    from torch.utils import _pytree as pytree

    count = spec.num_leaves
    for candidate in _readings(x, spec, names):
        try:
            found = spec.flatten_up_to(candidate)
        except ValueError:
            continue
        if all(isinstance(leaf, torch.Tensor) for leaf in found):
            return found
    flat = pytree.tree_leaves(x)
    if isinstance(x, tuple | list) and len(flat) == count and all(isinstance(leaf, torch.Tensor) for leaf in flat):
        return flat
    if len(flat) != count:
        raise DataError(f"The model takes {count} inputs, the data has {len(flat)}.")
    raise DataError(
        "The data is named or nested otherwise than the model's inputs.", f"The model takes: {', '.join(names)}."
    )


def _readings(x: Any, spec: pytree.TreeSpec, names: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    yield arguments(x)
    yield (x,), {}
    if isinstance(x, dict) and set(x) == set(names):
        positional = len(spec.children()[0].children())
        yield tuple(x[name] for name in names[:positional]), {name: x[name] for name in names[positional:]}


def checked(tensors: Sequence[Tensor], inputs: InputSpec) -> tuple[Tensor, ...]:
    """Inputs in the traced dtypes.

    Raises:
        DataError: on another shape or kind of number, or inputs of different numbers of samples.
    """
    import torch

    for tensor, spec in zip(tensors, inputs.tensors, strict=True):
        _check_against(tensor, spec)
    counts = sorted({len(tensor) for tensor in tensors})
    if len(counts) > 1:
        raise DataError(f"The inputs hold different numbers of samples: {', '.join(map(str, counts))}.")
    return tuple(t.to(getattr(torch, s.dtype)) for t, s in zip(tensors, inputs.tensors, strict=True))


def _check_against(tensor: Tensor, spec: TensorSpec) -> None:
    import torch

    expected = getattr(torch, spec.dtype)
    if tensor.dim() == 0 or tuple(tensor.shape[1:]) != spec.shape:
        raise DataError(
            f"The data has shape {tuple(tensor.shape[1:])} a sample, the model takes {spec.shape}.",
            "Resize it (--resize), or pass data of the model's shape.",
        )
    if expected.is_floating_point != tensor.dtype.is_floating_point:
        raise DataError(f"The data is {tensor.dtype}, the model takes {expected}.", "Convert the data first.")


def arguments(example: Any, model: nn.Module | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """User inputs as (args, kwargs): a tensor, a tuple of them, a dict by argument name, or a registered type."""
    import torch
    from torch.utils import _pytree as pytree

    if isinstance(example, torch.Tensor):
        return (example,), {}
    if isinstance(example, dict):
        names = _forward_names(model)
        return ((), dict(example)) if names is None or set(example) <= names else ((example,), {})
    if isinstance(example, tuple | list):
        return tuple(example), {}
    if type(example) in pytree.SUPPORTED_NODES:
        return (example,), {}
    raise DataError(
        f"Inputs of type {type(example).__name__} are not supported.",
        "Pass a tensor, a tuple or dict of them, or register the type with torch.export.register_dataclass.",
    )


def paired(example: Any) -> Any:
    """The example with a batch of at least 2, no tensor given twice.

    A batch of 1 is frozen into the graph or refused by the tracer; one tensor for two inputs makes them one input.
    """
    import torch
    from torch.utils import _pytree as pytree

    tensors = [leaf for leaf in pytree.tree_leaves(example) if isinstance(leaf, torch.Tensor)]
    if not tensors:
        raise DataError("The example inputs hold no tensor.", "Pass example_inputs with a batch dimension.")
    if any(t.dim() == 0 for t in tensors):
        raise DataError("An example input has no batch dimension.", "Give every input a leading batch dimension.")
    if any(t.shape[0] == 0 for t in tensors):
        raise DataError("The example inputs are empty.", "Pass at least one sample.")

    def prepare(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        repeated = leaf.repeat(2, *(1,) * (leaf.dim() - 1)) if leaf.shape[0] == 1 else leaf
        return repeated.clone() if sum(t is leaf for t in tensors) > 1 else repeated

    return pytree.tree_map(prepare, example)


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
