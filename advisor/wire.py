"""Tensors to bytes and back, for the link between the halves of a split model. Needs Python and numpy, nothing else.

    payload = pack(arrays)          # on the side that sends
    arrays = unpack(payload)        # on the side that receives

A message is, all integers little-endian and unsigned:

    magic    4 bytes   b"PAWT"
    version  1 byte    1
    count    1 byte    number of tensors, 1 to 255
    reserved 2 bytes   zero
    length   8 bytes   bytes that follow the tensor table
    table    for each tensor: dtype code (1 byte), rank (1 byte, at most 32), reserved (2 bytes, zero),
             then `rank` sizes of 8 bytes each
    payload  the elements of each tensor in row-major order, little-endian, one tensor after the other, no padding

Dtype codes are those of `DTYPES`. Numpy has no bfloat16, 8-bit float or half complex: `unpack` gives such tensors as
unsigned integers of the same bits; `describe` tells the dtype, and `unpack_torch` gives torch tensors.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    from advisor.errors import AdvisorError as _Family
except ImportError:  # this file stands alone

    class _Family(Exception):  # type: ignore[no-redef]  # noqa: N818
        """What every error here is."""


MAGIC, VERSION, MAX_RANK, MAX_TENSORS = b"PAWT", 1, 32, 255
MOST_TOLD = 8
HEADER, ENTRY = struct.Struct("<4sBBHQ"), struct.Struct("<BBH")

DTYPES: dict[str, tuple[int, str]] = {
    "bool": (1, "|b1"),
    "uint8": (2, "|u1"),
    "int8": (3, "|i1"),
    "uint16": (4, "<u2"),
    "int16": (5, "<i2"),
    "uint32": (6, "<u4"),
    "int32": (7, "<i4"),
    "uint64": (8, "<u8"),
    "int64": (9, "<i8"),
    "float16": (10, "<f2"),
    "float32": (11, "<f4"),
    "float64": (12, "<f8"),
    "complex64": (13, "<c8"),
    "complex128": (14, "<c16"),
    "bfloat16": (15, "<u2"),
    "float8_e4m3fn": (16, "|u1"),
    "float8_e5m2": (17, "|u1"),
    "float8_e4m3fnuz": (18, "|u1"),
    "float8_e5m2fnuz": (19, "|u1"),
    "complex32": (20, "<u4"),
}
"""dtype -> (code on the wire, numpy type that holds it)."""

_NAMES = {code: name for name, (code, _) in DTYPES.items()}
_BITS = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "complex32")
"""Dtypes that numpy lacks."""

Array = npt.NDArray[Any]
Spec = tuple[str, tuple[int, ...]]


class WireError(_Family, ValueError):
    """Bytes that are no message, or not the message that was expected; one line."""


def overhead(ranks: Iterable[int]) -> int:
    """Bytes of a message that are no elements: its header, and the table of tensors of these ranks."""
    return HEADER.size + sum(ENTRY.size + 8 * rank for rank in ranks)


def pack(tensors: Any, dtypes: Sequence[str] | None = None) -> bytes:
    """One message that holds these tensors.

    Args:
        tensors: a numpy array or torch tensor, or 1 to 255 of them, of any shape: what a half returns, as it is;
            of a dict the values, in order.
        dtypes: a name of `DTYPES` for each tensor, where an array's own type does not tell (bfloat16 bits as uint16).

    Raises:
        WireError: on a dtype or layout that has no code, a rank above 32, or no tensor at all.
    """
    tensors = _leaves(tensors)
    if not 1 <= len(tensors) <= MAX_TENSORS:
        raise WireError(f"A message holds 1 to {MAX_TENSORS} tensors, not {len(tensors)}.")
    given = [None] * len(tensors) if dtypes is None else list(dtypes)
    if len(given) != len(tensors):
        raise WireError(f"There are {len(tensors)} tensors but {len(given)} dtypes.")
    table, bodies = [], []
    for tensor, dtype in zip(tensors, given, strict=True):
        array, name = _as_array(tensor, dtype)
        table.append(ENTRY.pack(DTYPES[name][0], array.ndim, 0) + struct.pack(f"<{array.ndim}Q", *array.shape))
        bodies.append(array.astype(DTYPES[name][1], order="C", copy=False).tobytes())
    header = HEADER.pack(MAGIC, VERSION, len(tensors), 0, sum(map(len, bodies)))
    return b"".join([header, *table, *bodies])


def describe(data: bytes | bytearray | memoryview) -> tuple[Spec, ...]:
    """(dtype, shape) of each tensor of a message, which is checked but for its elements.

    Raises:
        WireError: on bytes that are truncated, too many, or no message of this version.
    """
    return _table(_bytes_of(data))[0]


def unpack(
    data: bytes | bytearray | memoryview, expected: Sequence[Mapping[str, Any]] | None = None
) -> list[npt.NDArray[Any]]:
    """The tensors of a message as arrays of their own memory, in this machine's byte order.

    Args:
        data: the whole message, nothing else.
        expected: the `tensors` of a crossing in `plan.json`: dtype and shape without the batch of each tensor. A
            message that holds anything else, or tensors of different batches, is refused.

    Raises:
        WireError: on bytes that are truncated, too many, no message of this version, or not what was expected.
    """
    view = _bytes_of(data)
    specs, start = _table(view)
    if expected is not None:
        _check_expected(specs, expected)
    arrays = []
    for name, shape in specs:
        stored = np.dtype(DTYPES[name][1])
        size = math.prod(shape) * stored.itemsize
        arrays.append(_array(view[start : start + size], name, shape))
        start += size
    return arrays


def unpack_torch(
    data: bytes | bytearray | memoryview, expected: Sequence[Mapping[str, Any]] | None = None
) -> tuple[Any, ...]:
    """As `unpack`, but torch tensors in the dtype that was sent.

    Raises:
        WireError: as `unpack`.
    """
    arrays = unpack(data, expected)
    import torch

    made = []
    for array, (name, _) in zip(arrays, describe(data), strict=True):
        if name in _BITS:
            signed = array.view(f"i{array.itemsize}")
            made.append(torch.from_numpy(signed).view(getattr(torch, name)))
        else:
            made.append(torch.from_numpy(array))
    return tuple(made)


def _leaves(tensors: Any) -> list[Any]:
    """The tensors in order: of a bare one, or of lists, tuples and dicts, as a defense makes several of one."""
    if isinstance(tensors, dict):
        tensors = list(tensors.values())
    if not isinstance(tensors, list | tuple):
        return [tensors]
    return [leaf for inner in tensors for leaf in _leaves(inner)]


def _as_array(tensor: Any, dtype: str | None) -> tuple[Array, str]:
    """What is sent of a tensor, and its dtype's name; a torch tensor names its own."""
    if np.ndim(tensor) > MAX_RANK:
        raise WireError(f"A tensor has {np.ndim(tensor)} dimensions, more than {MAX_RANK}.")
    if hasattr(tensor, "detach"):
        own = str(tensor.dtype).removeprefix("torch.")
        if own not in DTYPES or str(tensor.layout) != "torch.strided":
            raise WireError(
                f"A {str(tensor.layout).removeprefix('torch.')} tensor of type {own} has no code on the wire."
            )
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        if own in _BITS:
            import torch

            plain = plain.view({1: torch.uint8, 2: torch.int16, 4: torch.int32}[plain.element_size()])
        array = plain.numpy()
        array = array.view(f"u{array.itemsize}") if own in _BITS else array
        name = own
    else:
        array = np.asarray(tensor)
        if array.dtype.hasobject:
            raise WireError(f"A {type(tensor).__name__} is no tensor.")
        name = array.dtype.name
    name = dtype or name
    if name not in DTYPES:
        raise WireError(f"A tensor of type {name} has no code on the wire.")
    if array.dtype.newbyteorder("<") != np.dtype(DTYPES[name][1]):
        raise WireError(f"A tensor of type {name} must be given as {np.dtype(DTYPES[name][1]).name}.")
    return array, name


def _bytes_of(data: Any) -> memoryview:
    try:
        return memoryview(data).cast("B")
    except TypeError:
        raise WireError(f"A message is contiguous bytes, not a {type(data).__name__}.") from None


def _table(view: memoryview) -> tuple[tuple[Spec, ...], int]:
    """The specs of a message, and where its payload starts."""
    if len(view) < HEADER.size:
        raise WireError(f"The message is truncated: {len(view)} bytes, its header has {HEADER.size}.")
    magic, version, count, reserved, length = HEADER.unpack(view[: HEADER.size])
    if magic != MAGIC:
        raise WireError("These bytes are no message of this wire format.")
    if version != VERSION:
        raise WireError(f"The message is of version {version}, this code reads version {VERSION}.")
    if reserved or not count:
        raise WireError("The message's header makes no sense.")
    specs, position = [], HEADER.size
    for _ in range(count):
        spec, position = _entry(view, position)
        specs.append(spec)
    wanted = sum(math.prod(shape) * np.dtype(DTYPES[name][1]).itemsize for name, shape in specs)
    if wanted != length:
        raise WireError(f"The message's header makes no sense: {wanted} bytes of tensors, {length} of payload.")
    if len(view) != position + length:
        kind = "truncated" if len(view) < position + length else "too long"
        raise WireError(f"The message is {kind}: {len(view)} bytes, its header says {position + length}.")
    return tuple(specs), position


def _entry(view: memoryview, position: int) -> tuple[Spec, int]:
    if len(view) < position + ENTRY.size:
        raise WireError(f"The message is truncated in its table: {len(view)} bytes.")
    code, rank, reserved = ENTRY.unpack(view[position : position + ENTRY.size])
    if code not in _NAMES or rank > MAX_RANK or reserved:
        raise WireError("The message's table makes no sense.")
    start, stop = position + ENTRY.size, position + ENTRY.size + 8 * rank
    if len(view) < stop:
        raise WireError(f"The message is truncated in its table: {len(view)} bytes.")
    return (_NAMES[code], struct.unpack(f"<{rank}Q", view[start:stop])), stop


def _array(body: memoryview, name: str, shape: tuple[int, ...]) -> Array:
    """The elements as an array of its own, aligned and writable."""
    stored = np.dtype(DTYPES[name][1])
    if name == "bool" and np.frombuffer(body, "u1").max(initial=0) > 1:
        raise WireError("A tensor of truth values holds something else than 0 and 1.")
    try:
        return np.frombuffer(body, stored).astype(stored.newbyteorder("="), copy=True).reshape(shape)
    except (ValueError, OverflowError):
        raise WireError(f"No tensor can have the shape {shape}.") from None


def _check_expected(specs: Sequence[Spec], expected: Sequence[Mapping[str, Any]]) -> None:
    found = [(name, shape[1:]) for name, shape in specs]
    try:
        wanted = [(str(spec["dtype"]), tuple(spec["shape"])) for spec in expected]
    except (KeyError, TypeError):
        raise WireError("What the plan says of the tensors makes no sense.") from None
    if found != wanted or not all(shape for _, shape in specs):
        raise WireError(f"The message holds {_told(found)} a sample, the plan says {_told(wanted)}.")
    if len({shape[0] for _, shape in specs}) > 1:
        raise WireError("The message's tensors are of different batches.")


def _told(specs: Sequence[Spec]) -> str:
    """The first tensors: a stranger's message may have 255 of 32 dimensions each."""
    said = ", ".join(f"{name}{list(shape)}" for name, shape in specs[:MOST_TOLD])
    return said if len(specs) <= MOST_TOLD else f"{said} and {len(specs) - MOST_TOLD} more"
