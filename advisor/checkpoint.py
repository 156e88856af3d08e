"""What a killed run goes on from: one file, written whole or not at all, that is refused where it is of another run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from advisor.errors import AdvisorError
from advisor.files import write_atomically


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
        buffer = io.BytesIO()
        torch.save({"shape": list(self.shape), "random": torch.get_rng_state(), "state": state}, buffer)
        write_atomically(self.file, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """What was kept last, torch's random numbers set to go on from there; None where nothing was.

        Raises:
            AdvisorError: when the file is of another run.
        """
        if self.file is None or not self.file.exists():
            return None
        try:
            kept = torch.load(self.file, weights_only=True)
            if kept["shape"] != list(self.shape):
                raise ValueError("other steps or samples")
            torch.set_rng_state(kept["random"])
        except Exception as error:
            raise AdvisorError(f"{self.file} is not of this attack.", "Name another folder, or remove it.") from error
        state: dict[str, Any] = kept["state"]
        return state
