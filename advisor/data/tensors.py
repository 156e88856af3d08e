"""Numbers as plain torch tensors, whatever held them, and shapes for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

MOST_REPEATED = 2**28
"""Bytes of a tensor from which on it must hold its numbers itself: a view of one number may claim any size."""


def as_tensors(x: Any) -> Any:
    """A tensor, or a tuple or dict of them, of what may be arrays, lists or numbers; dtypes and shapes as they are.

    Raises:
        DataError: on objects, text, complex numbers, or tensors that are no plain numbers in memory.
    """
    if isinstance(x, dict):
        return {str(key): as_tensor(value, "samples") for key, value in x.items()}
    if isinstance(x, tuple | list) and not all(isinstance(value, int | float | list) for value in x):
        return tuple(as_tensor(value, "samples") for value in x)
    return as_tensor(x, "samples")


def as_tensor(value: Any, what: str) -> Tensor:
    """One plain tensor `[N, ...]` on the CPU, detached, of the dtype it has (unsigned 16 bits: int32, more: int64).

    Raises:
        DataError: naming `what` is no plain tensor of real numbers.
    """
    import torch

    x = value.detach() if isinstance(value, torch.Tensor) else _from_array(value, what)
    _check_plain(x, what)
    if x.dtype in (torch.uint16, torch.uint32, torch.uint64):
        x = x.int() if x.dtype == torch.uint16 else x.long()
    if x.dtype.is_floating_point and x.element_size() == 1:  # float8: made for products alone
        x = x.float()
    return x.cpu().resolve_neg()


def _from_array(value: Any, what: str) -> Tensor:
    import numpy as np
    import torch

    if np.ma.is_masked(value):
        raise DataError(f"The {what} hold masked values.", "Fill them: array.filled(0), or leave those samples out.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise DataError(f"The {what} have rows of different lengths.", "Pass arrays [N, ...].") from None
    if array.dtype.kind not in "buif":
        raise DataError(f"The {what} are of type {array.dtype}, not numbers.", "Pass numeric arrays.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        if array.dtype.itemsize == 8 and array.size and int(array.max()) >= 2**63:
            raise DataError(f"The {what} hold integers above 2^63.", "Pass smaller numbers.")
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


def _check_plain(x: Tensor, what: str) -> None:
    import torch

    kind = (
        "sparse" if x.layout != torch.strided
        else "nested" if x.is_nested
        else "quantised" if x.is_quantized
        else "meta" if x.is_meta
        else ""
    )  # fmt: skip
    if kind:
        raise DataError(f"The {what} are a {kind} tensor.", "Save plain dense tensors of numbers.")
    if x.is_complex():
        raise DataError(f"The {what} are complex numbers.", "Pass real numbers.")
    if x.dim() == 0:
        raise DataError(f"The {what} have no batch dimension.", "Pass an array [N, ...].")
    held, claimed = x.untyped_storage().nbytes(), x.numel() * x.element_size()
    if claimed > MOST_REPEATED and claimed > 16 * held:
        raise DataError(
            f"The {what} repeat {held:,} bytes to a shape of {shown(x.shape)}.",
            "Save them with their own numbers: x.contiguous().",
        )
    if x.dtype == torch.uint64 and x.numel() and bool((x.view(torch.int64) < 0).any()):
        raise DataError(f"The {what} hold integers above 2^63.", "Pass smaller numbers.")


def tensors_of(x: Any) -> list[Tensor]:
    """The tensors of a tensor, tuple or dict of them, in order."""
    from torch import Tensor

    parts = x.values() if isinstance(x, dict) else x if isinstance(x, tuple | list) else (x,)
    return [part for part in parts if isinstance(part, Tensor)]


def mapped(x: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting with `function` of each tensor."""
    if isinstance(x, dict):
        return {key: function(value) for key, value in x.items()}
    return tuple(function(v) for v in x) if isinstance(x, tuple | list) else function(x)


def shown(shape: Sequence[int]) -> str:
    """A shape for people: 3×224×224."""
    return "×".join(map(str, shape)) or "scalar"
