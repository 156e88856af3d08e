"""What a plan says of the fitted defense in its halves, and where its weights lie. Nothing here needs torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer
from pydantic.dataclasses import dataclass

from advisor.cuts import Cut
from advisor.errors import AdvisorError
from advisor.estimate import Estimate, Number
from advisor.files import read_bytes, write_atomically
from advisor.upward import reach

FOLDER, ENDING = "defenses", ".safetensors"
LARGEST = 8 * 2**30
"""Bytes of a file of weights; a variant with both halves tuned holds a model's."""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _digest(value: str) -> str:
    """A file is found by it: nothing but what a digest is made of."""
    if not re.fullmatch(r"[0-9a-f]{8,64}", value):
        raise ValueError("a digest is made of 8 to 64 hexadecimal digits")
    return value


Recipe = Annotated[dict[str, Any], PlainSerializer(_plain)]
Digest = Annotated[str, AfterValidator(_digest)]


@dataclass(frozen=True)
class CurvePoint:
    """What one level of noise makes of one fit.

    Attributes:
        sigma: standard deviation of the noise, in units of the payload; 0 without noise.
        relative: the same in units of the payload's root mean square.
        accuracy_drop: absolute, in points of the task's measure.
        score: NMSE that is left to the attack that priced it; NaN where this level was not attacked.
        score_ssim: SSIM of its reconstructions.
    """

    sigma: Number
    relative: Number
    accuracy_drop: Estimate
    score: Estimate
    score_ssim: Estimate


@dataclass(frozen=True)
class FittedDefense:
    """A defense that was fitted: the part of a plan that lies in the weights.

    Attributes:
        digest: names the file of the weights, `defenses/DIGEST.safetensors` beside the advice.
        method: its name.
        at: cut of the model after which its encoder runs; of a local head, after which the head runs.
        recipe: the settings that were used.
        seconds: wall time of the fit.
        changes: who must change what: "app" (encoder and decoder), "cloud weights", "edge weights".
        trained_against: estimators that say nothing of it any more.
        curve: accuracy against leakage, by rising noise.
        short: whether it was fitted for a choice only, not to its end.
    """

    digest: Digest
    method: str
    at: str
    recipe: Recipe
    seconds: Number
    changes: tuple[str, ...] = ()
    trained_against: tuple[str, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    short: bool = False

    def file(self, folder: str | Path) -> Path:
        """Where its weights lie beside an advice in that folder."""
        return Path(folder) / FOLDER / f"{self.digest}{ENDING}"

    def keep(self, graph: Any, read_from: Path | None, folder: Path) -> None:
        """Write its weights beside an advice in that folder, unless they are there.

        Args:
            graph: the variant, where it is in memory; else None.
            read_from: folder of the advice that it was read from, or None.
            folder: of the advice.

        Raises:
            AdvisorError: when they cannot be written, or are nowhere.
        """
        if self.file(folder).exists():
            return
        if graph is not None:
            reach("save_variant")(graph, folder)
        else:
            write_atomically(self.file(folder), read_bytes(self._lying_in(read_from), LARGEST))

    def spliced_again(self, base: Any, read_from: Path | None, payload: Cut) -> Any:
        """The variant of a traced model, from the weights beside an advice.

        Args:
            base: the traced model.
            read_from: folder of the advice.
            payload: what the plan says that is sent.

        Raises:
            AdvisorError: when the weights are gone, were changed, or are of another model.
        """
        variant = reach("load_variant")(self._lying_in(read_from), base)
        if payload not in ((variant.payload, variant.cuts[-1]) if variant.answers else (variant.payload,)):
            raise AdvisorError(f"What {self} sends is not what the plan says.", "Fit it again: advisor defend.")
        return variant

    def _lying_in(self, folder: Path | None) -> Path:
        if folder is None or not self.file(folder).is_file():
            where = "beside an advice" if folder is None else f"in {folder / FOLDER}"
            raise AdvisorError(
                f"The weights of {self} are not {where}.", "Read the advice from its folder, or run: advisor defend."
            )
        return self.file(folder)

    def __str__(self) -> str:
        return f"{self.method} at {self.at}"
