"""Cut: a legal place to split the model, and the tensors that cross it."""

from __future__ import annotations

import math

from pydantic.dataclasses import dataclass

ITEM_BYTES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "complex32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}


@dataclass(frozen=True)
class TensorSpec:
    """Shape without the batch dimension, and dtype, of a tensor that crosses a cut."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """Number of elements for one sample."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes for one sample, in the dtype that crosses."""
        return self.elements * ITEM_BYTES[self.dtype]

    @property
    def is_floating(self) -> bool:
        """Whether it holds floating-point numbers, which a defense can change a little."""
        return self.dtype.startswith(("float", "bfloat"))


@dataclass(frozen=True)
class Cut:
    """A legal place to split the model.

    Attributes:
        index: position along the model; 0 is the raw input, the last is the output.
        name: unique; the user's module path, `path/operation` for an operation written in a forward.
        tensors: what crosses, one entry a tensor.
        block: path of the outermost repeated block the cut closes, or "" (used to group cuts for people).
    """

    index: int
    name: str
    tensors: tuple[TensorSpec, ...]
    block: str = ""

    @property
    def bytes(self) -> int:
        """Bytes that cross for one sample."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def elements(self) -> int:
        """Elements that cross for one sample."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def undefendable(self) -> TensorSpec | None:
        """A crossing tensor that no defense can change without breaking it, neither numbers nor a mask; else None."""
        return next((t for t in self.tensors if not t.is_floating and t.dtype != "bool"), None)

    def __str__(self) -> str:
        return self.name
