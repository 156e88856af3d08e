"""Pickles looked over without running them: what they would import, and the question whether to go on."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import shlex
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from advisor.errors import UnsafeFileError

Trust = bool | Callable[[str], bool]

# What torch.save writes for tensors; only used to name what is foreign: torch's restricted reader decides.
HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter|defaultdict)|torch\.(\w+Storage|Size|device|\w*int\w*|\w*float\w*|bool|Tensor)"
    r"|torch\._utils\._rebuild\w*|torch\._tensor\._rebuild\w*|torch\.nn\.parameter\.(Parameter|Buffer|UninitializedParameter)"
    r"|torch\.storage\.\w+|torch\.serialization\._get_layout|_codecs\.encode|(builtins|__builtin__)\.(set|bytearray|complex)"
)
STRINGS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINSTRING", "BINSTRING", "STRING")


def imports(data: bytes) -> list[str]:
    """Names that a stream of pickles would import, in order, without running it; stops where no pickle follows."""
    names: dict[str, None] = {}
    stream = io.BytesIO(data)
    try:
        while stream.tell() < len(data):
            recent: list[str] = []
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    names[str(argument).replace(" ", ".", 1)] = None
                elif opcode.name == "STACK_GLOBAL":
                    names[".".join(recent[-2:])] = None
                elif opcode.name in STRINGS:
                    recent.append(str(argument))
    except (ValueError, IndexError, UnicodeDecodeError):
        return list(names)  # raw tensor bytes follow the pickles of a legacy file
    return list(names)


def foreign(data: bytes) -> list[str]:
    """The imports that no file of plain tensors needs; those from outside torch first."""
    return sorted((n for n in imports(data) if not HARMLESS.fullmatch(n)), key=lambda n: n.startswith("torch."))


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
    raise UnsafeFileError(
        f"{path} is refused: {reason}.",
        f"If you trust whoever made it: advisor recommend {shlex.quote(str(path))} --trust",
    )


class _Shapes(pickle.Unpickler):
    """Reads the shapes of pickled tensors; every name stands for an inert value, so nothing can run."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, size, *rest: tuple(size)
        if name == "restore_type_tag":
            return lambda value, tag: value
        return OrderedDict if name == "OrderedDict" else f"{module}.{name}"

    def persistent_load(self, pid: Any) -> None:
        return None


def tensor_shapes(data: bytes) -> Any:
    """The pickled structure with each tensor replaced by its shape; None where it is no such pickle."""
    try:
        return _Shapes(io.BytesIO(data)).load()
    except Exception:  # noqa: BLE001 - only a hint: any fault means that the file does not tell
        return None
