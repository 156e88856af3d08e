"""torch.export archives (.pt2), checked member by member before torch opens them.

`torch.export.load` runs code from a file in many ways: it falls back to unrestricted pickle for sample inputs, weights
and constants; it loads compiled libraries; it hands symbolic expressions to `sympify`, which evaluates Python; it
resolves a node's target by attribute access from `torch` (`torch.os.system` is one); it pastes node names and guards
into generated code; and its tree specs import modules. Each is held to an allow-list, here and in `program_checks`.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.archives import MAX_TEXT, Archive
from advisor.loading.content import Content, short
from advisor.loading.exported_programs.program_checks import program_dangers
from advisor.loading.pickles import MAX_EXPANDED, Trust, permit, reach
from advisor.loading.tensor_files import read_plain
from advisor.support.quiet import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

COMPILED = ("data/aotinductor/", "data/executorch/", "data/mtia/")
CONFIGS = {"data/weights/": "data/weights/model_weights_config.json",
           "data/constants/": "data/constants/model_constants_config.json"}  # fmt: skip
PROGRAM, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.format_version|\.storage_alignment|\.data/\w+"
    r"|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(model_weights_config\.json|weight_\d+|model\.pt)"
    r"|data/constants/(model_constants_config\.json|tensor_\d+|(custom|opaque)_obj_\d+|model\.pt)"
)
ELEMENT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 16, 12: 1, 13: 2, 28: 2, 29: 1, 30: 1,
                 31: 1, 32: 1, 33: 1, 34: 4, 35: 8}  # fmt: skip
"""Bytes of one element by the number that torch.export's schema gives its type."""
IGNORED = re.compile(r"extra/.*")  # texts of the user's own, which are not given to torch


def load_program(archive: Archive, trust: Trust) -> ExportedProgram:
    """Load a `.pt2` whose every member was checked, or which the user trusts.

    Raises:
        UnsafeFileError: when it would run code and is not trusted.
        AdvisorError: when it is damaged, compiled, or of another torch.
    """
    import torch

    compiled = [name for name in archive.sizes if name.lower().startswith(COMPILED)]
    if compiled:
        raise AdvisorError(
            f"{archive.path} holds a compiled model ({short(compiled[0])}), which cannot be cut.",
            "Pass the torch.export program it was compiled from.",
        )
    if PROGRAM not in archive:
        raise AdvisorError(f"{archive.path} holds no exported program ({PROGRAM}).", "Save it with torch.export.save.")
    reasons = list(itertools.islice(dangers(archive), 1))
    if reasons:
        permit(archive.path, reasons[0], trust)
    stream = archive.content.stream() if reasons else _given(archive)
    try:
        with quiet():
            program = torch.export.load(stream)
    except Exception as error:
        raise AdvisorError(
            f"{archive.path} cannot be loaded by torch {torch.__version__}: {short(error, 200).rstrip('.')}.",
            "Export and save it with this torch; where this one wrote it, save program.run_decompositions() instead.",
        ) from error
    if hasattr(program, "_guards_code"):
        program._guards_code = []  # strings from the file that would become code; input shapes are checked by us
    return program


def _known(archive: Archive) -> list[str]:
    """The members that torch.export writes; torch's reader would also take others, by prefix and in any case."""
    unknown = [name for name in archive.sizes if not MEMBERS.fullmatch(name) and not IGNORED.fullmatch(name)]
    if unknown:
        raise AdvisorError(
            f"{archive.path} is refused: no torch.export writes a member {short(unknown[0])!r}.",
            "Save the program alone, with torch.export.save.",
        )
    return [name for name in archive.sizes if MEMBERS.fullmatch(name)]


def _given(archive: Archive) -> io.BytesIO:
    """What torch gets. Each pickle is written anew: torch reads some without restriction, and takes a TorchScript
    archive in place of one, which runs code."""
    return archive.only(_known(archive), {name: _saved(_plain(archive, name)) for name in _pickled(archive)})


def _saved(value: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def dangers(archive: Archive) -> Iterator[str]:
    """Every way in which loading or running this archive would run code from it, each as one reason."""
    yield from program_dangers(archive.json(PROGRAM))
    for folder in CONFIGS:
        yield from _payload_dangers(archive, folder)
    for name in _pickled(archive):
        yield from _pickle_dangers(archive, name)


def _entries(archive: Archive, folder: str) -> dict[str, Any]:
    """What the list of a folder of tensors says of each."""
    if CONFIGS[folder] not in archive:
        return {}
    config = archive.json(CONFIGS[folder])
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise AdvisorError(f"{archive.path} is damaged: its list of weights makes no sense.", "Save the model again.")
    return entries


def _pickled(archive: Archive) -> list[str]:
    """Members that torch unpickles, in whatever protocol, if only for one of the tensors that they are listed for.

    What no list names is one of them where it looks so.
    """
    found: dict[str, bool] = {}
    for folder in CONFIGS:
        for entry in _entries(archive, folder).values():
            name = f"{folder}{entry.get('path_name')}"
            found[name] = found.get(name, False) or bool(entry.get("use_pickle"))

    def pickled(name: str) -> bool:
        listed = True if name.endswith(".pt") else found.get(name)
        return archive.read(name, _limit(archive)).startswith((b"PK", b"\x80")) if listed is None else listed

    ours = [n for n in archive.sizes if not IGNORED.fullmatch(n) and not n.endswith(".json")]
    return [name for name in ours if archive.sizes[name] and pickled(name)]


def _payload_dangers(archive: Archive, folder: str) -> Iterator[str]:
    expanded = 0
    for key, entry in _entries(archive, folder).items():
        member = f"{folder}{entry.get('path_name')}"
        if member not in archive:
            raise AdvisorError(
                f"{archive.path} is damaged: {short(key)!r} names {short(member)!r}, which it lacks.", "Save it again."
            )
        if entry["path_name"].startswith(("custom_obj", "opaque_obj")):
            yield f"its constant {short(key)!r} is a pickled object"
        elif not entry.get("use_pickle"):
            expanded += _check_extent(archive, key, member, entry.get("tensor_meta"))
            if expanded > MAX_EXPANDED:
                raise AdvisorError(
                    f"{archive.path} is refused: its tensors declare {expanded:,} elements more than it holds.",
                    "It was not written by torch; get the model from its source.",
                )
            yield from program_dangers(entry)


def _check_extent(archive: Archive, key: str, member: str, meta: Any) -> int:
    """Elements that a tensor has beyond its record's, expanded from fewer; it must lie within its record.

    An empty record would be filled with zeros of the declared size.
    """
    meta = meta if isinstance(meta, dict) else {}
    held, bytes_each = archive.sizes[member], ELEMENT_BYTES.get(_code(meta))
    if bytes_each is None:
        raise AdvisorError(f"{archive.path} is damaged: {short(key)!r} has no shape.", "Save the model again.")
    sizes, strides, offset = (_whole(meta.get(w)) for w in ("sizes", "strides", "storage_offset"))
    needed, elements = reach(offset[0] if offset else None, sizes or (), strides or ())
    fits = sizes is not None and strides is not None and needed is not None and needed * bytes_each <= held
    if not fits:
        raise AdvisorError(
            f"{archive.path} is refused: {short(key)!r} declares the size {short(sizes)}, its record has {held} bytes.",
            "It was not written by torch; get the model from its source.",
        )
    return max(0, elements - held // bytes_each)


def _code(meta: dict[str, Any]) -> int:
    return meta["dtype"] if type(meta.get("dtype")) is int else 0


def _whole(numbers: Any) -> tuple[int, ...] | None:
    """The numbers of a serialised shape, or one number; None where it holds something else."""
    numbers = [numbers] if isinstance(numbers, dict) else numbers
    if not isinstance(numbers, list) or not all(isinstance(n, dict) and type(n.get("as_int")) is int for n in numbers):
        return None
    return tuple(n["as_int"] for n in numbers)


def _plain(archive: Archive, name: str) -> Any:
    return read_plain(Content(archive.path, archive.read(name, _limit(archive))))


def _limit(archive: Archive) -> int:
    return len(archive.content.data) + MAX_TEXT


def _pickle_dangers(archive: Archive, name: str) -> Iterator[str]:
    """Torch's restricted reader must take a pickled member: torch.export falls back to the unrestricted one."""
    try:
        _plain(archive, name)
    except AdvisorError as error:
        why = error.problem.removeprefix(f"{archive.path} ").removeprefix("is refused: ").rstrip(".")
        yield f"its member {short(name)}: {why}"
