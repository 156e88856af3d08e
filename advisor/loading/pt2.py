"""torch.export archives (.pt2), checked member by member before torch opens them.

`torch.export.load` runs code from a file in many ways: it falls back to unrestricted pickle for sample inputs, weights
and constants; it loads compiled libraries; it hands symbolic expressions to `sympify`, which evaluates Python; it
resolves a node's target by attribute access from `torch` (`torch.os.system` is one); it pastes node names and guards
into generated code; and its tree specs import modules. Each is held to an allow-list, here and in `program_checks`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.archives import Archive
from advisor.loading.pickles import Trust, foreign, permit
from advisor.loading.program_checks import program_dangers
from advisor.loading.quiet import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

COMPILED = ("data/aotinductor/", "data/executorch/", "data/mtia/")
CONFIGS = {"data/weights/": "_weights_config.json", "data/constants/": "_constants_config.json"}


def load_program(archive: Archive, trust: Trust) -> ExportedProgram:
    """Load a `.pt2` whose every member was checked, or which the user trusts.

    Raises:
        UnsafeFileError: when it would run code and is not trusted.
        AdvisorError: when it is damaged, compiled, or of another torch.
    """
    import torch

    compiled = [name for name in archive.sizes if name.startswith(COMPILED)]
    if compiled:
        raise AdvisorError(
            f"{archive.path} holds a compiled model ({compiled[0]}), which cannot be cut.",
            "Pass the torch.export program it was compiled from.",
        )
    if "models/model.json" not in archive:
        raise AdvisorError(
            f"{archive.path} holds no exported program (models/model.json).", "Save it with torch.export.save."
        )
    reasons = list(dangers(archive))
    if reasons:
        permit(archive.path, reasons[0], trust)
    try:
        with open(archive.path, "rb") as file, quiet():
            program = torch.export.load(file)
    except Exception as error:
        line = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise AdvisorError(
            f"{archive.path} cannot be loaded by torch {torch.__version__}: {line}.",
            "Export and save it with this torch.",
        ) from error
    if hasattr(program, "_guards_code"):
        program._guards_code = []  # strings from the file that would become code; input shapes are checked by us
    return program


def dangers(archive: Archive) -> Iterator[str]:
    """Every way in which loading or running this archive would run code from it, each as one reason."""
    for name in archive.below("models/"):
        yield from program_dangers(archive.json(name))
    for folder, suffix in CONFIGS.items():
        for name in archive.below(folder):
            if name.endswith(suffix):
                yield from _payload_dangers(archive, folder, archive.json(name))
    pickled = archive.below("data/sample_inputs/")
    pickled += [n for f in CONFIGS for n in archive.below(f) if n.endswith(".pt")]
    for name in pickled:
        yield from _pickle_dangers(archive, name)


def _payload_dangers(archive: Archive, folder: str, config: Any) -> Iterator[str]:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise AdvisorError(f"{archive.path} is damaged: its list of weights makes no sense.", "Save the model again.")
    for key, entry in entries.items():
        member = f"{folder}{entry.get('path_name')}"
        if member not in archive:
            raise AdvisorError(
                f"{archive.path} is damaged: {key!r} names {member!r}, which it lacks.", "Save it again."
            )
        if entry["path_name"].startswith(("custom_obj", "opaque_obj")):
            yield f"its constant {key!r} is a pickled object"
        elif entry.get("use_pickle"):
            yield from _pickle_dangers(archive, member)
        else:
            _check_size(archive, key, member, entry.get("tensor_meta"))
            yield from program_dangers(entry)


def _check_size(archive: Archive, key: str, member: str, meta: Any) -> None:
    """An empty record is filled with zeros of the declared size: a few bytes could ask for all memory."""
    declared = meta.get("sizes") if isinstance(meta, dict) else None
    if not isinstance(declared, list) or not all(isinstance(size, dict) for size in declared):
        raise AdvisorError(f"{archive.path} is damaged: {key!r} has no shape.", "Save the model again.")
    sizes = [size.get("as_int") for size in declared]
    whole = all(isinstance(s, int) and s >= 0 for s in sizes)
    held = archive.sizes[member]
    if not whole or math.prod(int(s or 0) for s in sizes) > held:
        raise AdvisorError(
            f"{archive.path} is refused: {key!r} declares the size {sizes}, its record has {held} bytes.",
            "It was not written by torch; get the model from its source.",
        )


def _pickle_dangers(archive: Archive, name: str) -> Iterator[str]:
    """Torch's restricted reader must take the member: then torch.export never falls back to the unrestricted one."""
    import torch

    data = archive.read(name)
    if not data:
        return
    try:
        with quiet():
            torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # noqa: BLE001 - whatever the restricted reader refuses is refused
        named = foreign(_inner_pickle(data))
        line = str(error).strip().split("\n")[0][:120]
        yield (
            f"its member {name} would import {', '.join(named[:3])}"
            if named
            else f"its member {name} is no plain tensor file ({line})"
        )


def _inner_pickle(data: bytes) -> bytes:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            inner = [n for n in file.namelist() if n.endswith("data.pkl")]
            return file.read(inner[0]) if inner else data
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return data
