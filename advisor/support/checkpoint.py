"""What a killed run goes on from: one file, written whole or not at all, that is refused where it is of another run."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from advisor.computing.moves import moved
from advisor.computing.regions import place
from advisor.errors import AdvisorError
from advisor.files import read_bytes, write_atomically
from advisor.loading.content import Content
from advisor.loading.tensor_files import read_plain

LARGEST = 16 * 2**30
"""Bytes: decoders and their optimisers, and the activations that they learn from."""

_OWN = re.compile(r"[0-9a-f]{16}")
"""Name of a folder that one attack has for itself."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run, and where torch's random numbers stood.

    Attributes:
        file: None keeps nothing.
        shape: numbers that tell this run from others.
    """

    file: Path | None
    shape: Sequence[int] = ()

    def save(self, state: dict[str, Any]) -> None:
        """Keep tensors, numbers, strings, and lists and dicts of them."""
        if self.file is None:
            return
        buffer, here = io.BytesIO(), moved(state, torch.device("cpu"))
        torch.save({"shape": list(self.shape), "random": torch.get_rng_state(), "state": here}, buffer)
        write_atomically(self.file, buffer.getvalue(), private=True)

    def load(self) -> dict[str, Any] | None:
        """What was kept last, torch's random numbers set to go on from there; None where nothing was.

        Raises:
            AdvisorError: when the file is of another run.
        """
        if self.file is None or not os.path.lexists(self.file):
            return None
        data = read_bytes(self.file, LARGEST)
        try:
            kept = read_plain(Content(self.file, data))
            if kept["shape"] != list(self.shape):
                raise ValueError("other steps or samples")
            torch.set_rng_state(kept["random"])
        except Exception as error:
            raise AdvisorError(f"{self.file} is not of this attack.", "Name another folder, or remove it.") from error
        state: dict[str, Any] = moved(kept["state"], place())
        return state


def forget(folder: Path | None) -> None:
    """Remove what attacks kept in a folder, for it is made of private samples; other files there stay.

    Args:
        folder: that attacks were given to resume from; it goes too where nothing else is in it.
    """
    if folder is None or not folder.is_dir():
        return
    for own in folder.iterdir():
        if _OWN.fullmatch(own.name) and own.is_dir() and not own.is_symlink():
            for file in own.glob("*.pt"):
                file.unlink(missing_ok=True)
            _remove_empty(own)
    _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # something of others is in it, or another run is using it
        folder.rmdir()
