"""Tensors from files by restricted readers; a pickle that needs more runs only with trust."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NoReturn

from advisor.errors import AdvisorError
from advisor.loading.archives import Archive, inspect_archive
from advisor.loading.content import Content, short
from advisor.loading.pickle_reader import Pickled, read_pickles
from advisor.loading.pickles import LEGACY_PICKLES, Trust, foreign, permit, storage_faults
from advisor.support.import_path import modules_here
from advisor.support.quiet import quiet

AGAIN = "Download or save the model again."


def read_plain(content: Content) -> Any:
    """Tensors, numbers and texts that torch.save wrote, in lists and dicts; no trust is asked for.

    Raises:
        UnsafeFileError: when it holds more, and would run code.
        AdvisorError: when it is damaged.
    """
    if content.data.startswith(b"PK"):
        return read_zipped(inspect_archive(content), trust=False)
    return read_legacy(content, trust=False)


def read_zipped(archive: Archive, trust: Trust) -> Any:
    """What a torch archive holds, by torch's restricted reader; whole modules only with trust.

    Raises:
        UnsafeFileError: when it would run code and is not trusted.
        AdvisorError: when it is damaged.
    """
    if "data.pkl" not in archive:
        raise AdvisorError(f"{archive.path} is a zip archive, but holds no tensors of torch's.", AGAIN)
    found = read_pickles(archive.read("data.pkl"))
    named = foreign(found)
    if named:
        _ask(archive.path, named, trust)
        return _trusted(archive.path, archive.content.stream())
    records = {name.removeprefix("data/"): archive.sizes[name] for name in archive.below("data/")}
    _check(archive.path, found, records)
    kept = [n for n in ("data.pkl", "byteorder", "version") if n in archive] + [f"data/{key}" for key in records]
    return _restricted(archive.path, archive.only(kept))


def read_legacy(content: Content, trust: Trust) -> Any:
    """The same for a file of torch before 1.6: pickles, then the bytes of all storages.

    Raises:
        UnsafeFileError: when it would run code and is not trusted.
        AdvisorError: when it is damaged.
    """
    found = read_pickles(content.data, LEGACY_PICKLES)
    named = foreign(found)
    if named:
        _ask(content.path, named, trust)
        return _trusted(content.path, content.stream())
    held = len(content.data) - found.end
    keys = [s.identifier[2] for s in found.stored if isinstance(s.identifier, tuple) and len(s.identifier) > 2]
    _check(content.path, found, {key: held for key in keys if isinstance(key, str)})
    return _restricted(content.path, content.stream())


def _ask(path: Path, named: list[str], trust: Trust) -> None:
    listed = ", ".join(short(name, 60) for name in named[:3])
    permit(path, f"it is a pickle that would import {listed}, that is, run code when loaded", trust)


def _check(path: Path, found: Pickled, records: dict[str, int]) -> None:
    for fault in (found.fault, *storage_faults(found, records)):
        if fault:
            raise AdvisorError(f"{path} is damaged or no model: {fault}.", AGAIN)


def _restricted(path: Path, stream: io.BytesIO) -> Any:
    import torch

    try:
        with quiet():
            return torch.load(stream, weights_only=True, map_location="cpu")
    except Exception as error:
        raise AdvisorError(f"{path} is damaged or no model: {short(error)}.", AGAIN) from error


def _trusted(path: Path, stream: io.BytesIO) -> Any:
    import torch

    try:
        with modules_here():
            return torch.load(stream, weights_only=False, map_location="cpu")
    except (Exception, SystemExit) as error:
        raise AdvisorError(
            f"{path} cannot be loaded: {type(error).__name__}: {short(error, 300)}.",
            "Run from the folder that holds its classes, or save a .pt2.",
        ) from error


def read_safetensors(content: Content) -> dict[str, Any]:
    """A safetensors file's tensors; names of a tied weight that its metadata lists come with it.

    Raises:
        AdvisorError: when its header does not fit its bytes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content.data)  # type: ignore[no-any-return]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        damaged(content.path, "safetensors file", error)


def damaged(path: Path, what: str, error: BaseException) -> NoReturn:
    """One line for a file that its own library cannot read."""
    raise AdvisorError(f"{path} is a damaged {what}: {short(error, 200)}.", "Download it again.") from error
