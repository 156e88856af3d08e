"""Cut: a legal place to split the model, and the tensors that cross it."""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
from collections.abc import Sequence

from pydantic.dataclasses import dataclass

from advisor import wire
from advisor.errors import CutError

LONGEST_INDEX = 9
"""Digits of the number of a cut, below which it is one."""

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
        tensors: the activation, one entry a tensor.
        block: path of the outermost repeated block the cut closes, or "" (used to group cuts for people).
        graph: digest of the graph it is a cut of, or "" where that is not known.
    """

    index: int
    name: str
    tensors: tuple[TensorSpec, ...]
    block: str = ""
    graph: str = dataclasses.field(default="", compare=False, repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of the activation of one sample."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def message_bytes(self) -> int:
        """Bytes of the message that carries it, one sample and no defense: header and table count."""
        return self.bytes + wire.overhead(1 + len(tensor.shape) for tensor in self.tensors)

    @property
    def elements(self) -> int:
        """Elements that cross for one sample."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def undefendable(self) -> TensorSpec | None:
        """An activation that no defense can change without breaking it, neither numbers nor a mask; else None."""
        return next((t for t in self.tensors if not t.is_floating and t.dtype != "bool"), None)

    def __str__(self) -> str:
        return self.name


def find_cut(cuts: Sequence[Cut], wanted: Cut | int | str, last_name: str = "output") -> Cut:
    """Find a cut by itself, its index, its name, or a module path under which exactly one cut lies.

    Names win: "2" is the cut of that name or under that module path where there is one, and else cut number 2.

    Args:
        cuts: all of them.
        wanted: which.
        last_name: another name of the last one: of the operation that computes the output.

    Raises:
        CutError: when there is none, or several; the message lists the candidates.
    """
    if isinstance(wanted, Cut):
        wanted = wanted.name
    if not isinstance(wanted, str):
        number = operator.index(wanted)
        if not -len(cuts) <= number < len(cuts):
            raise CutError(f"There is no cut {number}.", f"Cuts are numbered 0 to {len(cuts) - 1}.")
        return cuts[number]
    named = {cut.name: cut for cut in cuts} | {last_name: cuts[-1]}
    if (index := _index(wanted)) is not None and not _under(named, wanted):
        return find_cut(cuts, index)
    return next((cut for cut in cuts if cut.name == wanted), None) or _below(named, wanted)


def also_an_index(cuts: Sequence[Cut], wanted: str, found: Cut) -> Cut | None:
    """The cut that digits would have meant as an index, where as a name they mean another."""
    index = _index(wanted)
    if index is None or index >= len(cuts) or cuts[index].index == found.index:
        return None
    return cuts[index]


def _index(text: str) -> int | None:
    """The number that a text is; None where it is none, or none that a model has cuts for."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < LONGEST_INDEX else None


def _under(named: dict[str, Cut], path: str) -> list[Cut]:
    ends = (f"{path}.", f"{path}/", f"{path}#")
    return [cut for name, cut in named.items() if name == path or name.startswith(ends)]


def _below(named: dict[str, Cut], path: str) -> Cut:
    found = _under(named, path)
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(cut.name for cut in found)
        raise CutError(f"The name {path!r} fits several cuts: {listed}.", "Name one of them.")
    near = difflib.get_close_matches(path, list(named), n=3, cutoff=0.4)
    raise CutError(
        f"There is no legal cut {path!r}.",
        f"Nearest: {', '.join(near)}." if near else f"Legal cuts: {', '.join(named)}.",
    )
