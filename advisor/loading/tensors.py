"""Tensors from files by restricted readers; a pickle that needs more runs only with trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError
from advisor.import_path import modules_here
from advisor.loading.pickles import Trust, foreign, permit
from advisor.loading.quiet import quiet


def read_tensors(path: Path, pickled: bytes, trust: Trust) -> Any:
    """What a torch file holds, by torch's restricted reader; whole modules only with trust.

    Args:
        path: the file.
        pickled: its pickle, to name what it would import.
        trust: see `permit`.

    Raises:
        UnsafeFileError: when it would run code and is not trusted.
        AdvisorError: when it is damaged.
    """
    import torch

    try:
        with open(path, "rb") as file, quiet():  # given a path, torch goes by its name
            return torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:
        named = foreign(pickled)
        if not named:
            line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise AdvisorError(f"{path} is damaged or no model: {line}", "Download or save the model again.") from error
        permit(path, f"it is a pickle that would import {', '.join(named[:3])}, that is, run code when loaded", trust)
        return _read_trusted(path)


def _read_trusted(path: Path) -> Any:
    import torch

    try:
        with open(path, "rb") as file, modules_here():
            return torch.load(file, weights_only=False, map_location="cpu")
    except Exception as error:
        raise AdvisorError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}.",
            "Run from the folder that holds its classes, or save a .pt2.",
        ) from error


def read_safetensors(path: Path) -> dict[str, Any]:
    """A safetensors file's tensors.

    Raises:
        AdvisorError: when its header does not fit its bytes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)  # type: ignore[no-any-return]
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise AdvisorError(f"{path} is a damaged safetensors file: {error}.", "Download it again.") from error
