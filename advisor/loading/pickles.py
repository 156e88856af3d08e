"""Pickles looked over without running them: what they would import, whether their tensors fit, whether to go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from advisor.errors import UnsafeFileError
from advisor.loading.pickle_reader import Made, Name, Pickled, Stored, read_pickles
from advisor.support.safe_text import shell_words

Trust = bool | Callable[[str], bool]

LEGACY_PICKLES = 5  # in a file of torch before 1.6: magic number, version, system, content, names of storages
MAX_EXPANDED = 2**26  # elements that an expanded view may declare beyond what its file holds
ELEMENT = {"Double": 8, "Float": 4, "Half": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
           "BFloat16": 2, "ComplexDouble": 16, "ComplexFloat": 8, "QInt8": 1, "QInt32": 4, "QUInt8": 1, "QUInt4x2": 1,
           "QUInt2x4": 1, "Untyped": 1}  # fmt: skip
"""Bytes of one element of a storage, by its class's name."""
STORAGE = re.compile(rf"torch\.(?:storage\.)?({'|'.join(ELEMENT)})Storage")

# What torch.save writes for tensors: the only names that are let through to torch's restricted reader.
HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter|defaultdict)|_codecs\.encode|(builtins|__builtin__)\.(set|bytearray|complex)"
    r"|torch\.(Size|device|Tensor|strided|sparse_coo|u?int\d+|float\d+|bfloat16|bool|complex\d+|q(u?int\d+|uint\dx\d)"
    r"|float8_\w+|per_(tensor|channel)_\w+)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|sparse_tensor|qtensor)"
    r"|torch\._tensor\._rebuild_from_type_v2|torch\.nn\.parameter\.(Parameter|Buffer)|torch\.serialization\._get_layout"
    r"|" + STORAGE.pattern
)
REBUILT = re.compile(r"torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|qtensor)")


def imports(data: bytes) -> list[str]:
    """Names that a stream of pickles would import, in order, without running it; stops where no pickle follows."""
    return list(read_pickles(data, LEGACY_PICKLES).imports)


def foreign(found: Pickled) -> list[str]:
    """The imports that no file of plain tensors needs; those from outside torch first."""
    return sorted((n for n in found.imports if not HARMLESS.fullmatch(n)), key=lambda n: n.startswith("torch."))


def permit(path: Path, reason: str, trust: Trust) -> None:
    """Go on with a file that would run code only when its user said so.

    Args:
        path: the file, for the command that goes on.
        reason: what the file would do, as "it would import os.system".
        trust: True, or a question to the user that takes the reason and returns the answer.

    Raises:
        UnsafeFileError: when not trusted.
    """
    if trust is True or (callable(trust) and trust(f"{path}: {reason}")):
        return
    name = str(path)
    words = ["--trust", "--", name] if name.startswith("-") else [name, "--trust"]
    raise UnsafeFileError(
        f"{path} is refused: {reason}.",
        f"If you trust whoever made it: advisor recommend {shell_words(words)}",
    )


def storage_faults(found: Pickled, records: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with the storages that a pickle refers to, and with the tensors laid over them.

    Torch maps a storage onto its record without comparing their sizes, and grows one that a tensor goes beyond.

    Args:
        found: the pickle.
        records: bytes of each record, by the storage's key.
    """
    for stored in found.stored:
        match stored.identifier:
            case ("storage", Name(kind), str(key), str(), int(count), *rest) if rest in ([], [None]):
                size = _element(kind)
                if size == 0 or isinstance(count, bool) or count < 0 or count * size > records.get(key, -1):
                    yield f"a tensor in it declares {count:,} elements, its record {key[:20]!r} has too few bytes"
            case _:
                yield "a storage in it has no plain name"
    expanded = 0
    for made in (_inner(made) for made in found.made):
        if REBUILT.fullmatch(made.name):
            fault, elements = _view(made)
            expanded += elements
            if fault or expanded > MAX_EXPANDED:
                yield fault or f"tensors in it declare {expanded:,} elements more than it holds"


def _inner(made: Made) -> Made:
    """The call that a call of `_rebuild_from_type_v2` passes on: a tensor that carries attributes."""
    match made:
        case Made("torch._tensor._rebuild_from_type_v2", (Name(name), _, tuple(arguments), *_)):
            return Made(name, arguments)
    return made


def _element(kind: str) -> int:
    match = STORAGE.fullmatch(kind)
    return ELEMENT[match[1]] if match else 0


def _view(made: Made) -> tuple[str, int]:
    """What is wrong with a tensor's place in its storage, and the elements that it has beyond the storage's."""
    match made.arguments:
        case (Stored((_, Name(kind), _, _, int(held), *_)), int(offset), tuple(size), tuple(stride), *rest):
            count = _held(kind, held, rest)
            needed, elements = reach(offset, size, stride)
            if needed is None or needed > count:
                return f"a tensor in it reaches beyond the {count:,} elements of its storage", 0
            return "", max(0, elements - count)
    return "a tensor in it has no plain shape", 0


def _held(kind: str, count: int, rest: list[Any]) -> int:
    """Elements in a storage; a `_rebuild_tensor_v3` counts bytes and names the type of its elements."""
    names = [r.text for r in rest if isinstance(r, Name)]
    if kind.endswith("UntypedStorage") and names:
        width = next((int(digits) for digits in re.findall(r"(\d+)", names[-1])), 8)
        return count * 8 // max(8, width)
    return count


def reach(offset: Any, size: Any, stride: Any) -> tuple[int | None, int]:
    """Elements that a storage needs for a view, None where it makes no sense, and the elements of the view.

    Args:
        offset: where the view starts, in elements.
        size: of the view.
        stride: of the view, in elements.
    """
    numbers = (offset, *size, *stride)
    plain = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**62 for n in numbers)
    if not plain or len(size) != len(stride) or len(size) > 64:
        return None, 0
    elements = 1
    for extent in size:
        elements *= extent
    last = sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
    return (offset + last + 1 if elements else 0), elements


def tensor_shapes(data: bytes) -> Any:
    """The pickled structure with each tensor replaced by its shape; None where it is no such pickle."""
    found = read_pickles(data)
    return None if found.fault or not found.values else _shapes(found.values[0])


def _shapes(value: Any, depth: int = 0) -> Any:
    if depth > 20:
        return None
    match value:
        case Made(name, (_, _, tuple(size), *_)) if REBUILT.fullmatch(name):
            return tuple(size)
        case Made("torch.jit._pickle.restore_type_tag", (inner, _)):
            return _shapes(inner, depth + 1)
        case dict():
            return {key: _shapes(item, depth + 1) for key, item in value.items()}
        case list():
            return [_shapes(item, depth + 1) for item in value[:100]]
        case tuple():
            return tuple(_shapes(item, depth + 1) for item in value[:100])
    return None
