"""Which arrays of a file are the samples and which the labels, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from advisor.errors import DataError

SAMPLES = (
    "x", "data", "images", "image", "imgs", "img", "inputs", "input", "features", "samples", "input_ids", "tokens",
    "arr_0",
)  # fmt: skip
LABELS = (
    "y", "target", "targets", "label", "labels", "classes", "class", "attributes", "masks", "outputs", "ground_truth",
    "fine_labels", "arr_1",
)  # fmt: skip
"""What is named so, in any case, with or without the part before or after it: `x_test`, `train_images`, `Y_val`."""

PARTS = {"test": "test", "eval": "test", "val": "val", "valid": "val", "validation": "val", "dev": "val",
         "train": "train", "training": "train"}  # fmt: skip
ORDER = {"test": ("test", "val", "", "train"), "train": ("train", "", "val", "test")}
"""Of a file that holds several parts: which is taken to evaluate on, and which to learn from."""
MOST_OTHERS = 16


@dataclass(frozen=True)
class Chosen:
    """Names in a file.

    Attributes:
        x: the samples; None where several arrays may be and only the model's inputs can tell.
        y: the labels, or None.
        others: arrays of the same part that are neither, which a model of several inputs may take.
        note: what was not taken; may be empty.
    """

    x: str | None
    y: str | None
    others: tuple[str, ...]
    note: str = ""

    @property
    def said(self) -> str:
        """What was taken, for people."""
        return " and ".join(name for name in (self.x or ", ".join(self.others), self.y) if name)


def part_and_stem(name: str) -> tuple[str, str]:
    """`X_test` as ("test", "x"); a name without a part has the part ""."""
    words = re.split(r"[_\-. ]", name.lower())
    for word in (words[0], words[-1]):
        if len(words) > 1 and word in PARTS:
            words.remove(word)
            return PARTS[word], "_".join(words)
    return "", "_".join(words)


def choose_names(names: Collection[str], path: Path, part: str = "test") -> Chosen:
    """Samples and labels among an archive's names.

    Args:
        names: of all arrays.
        path: for the message.
        part: "test" for what is evaluated on, "train" for what is learnt from.

    Raises:
        DataError: where no array can be the samples.
    """
    for wanted in ORDER[part]:
        mine = {name: part_and_stem(name)[1] for name in names if part_and_stem(name)[0] == wanted}
        x, y = _first(mine, SAMPLES), _first(mine, LABELS)
        others = tuple(sorted(set(mine) - {x, y}))
        if x is not None:
            return Chosen(x, y, others[:MOST_OTHERS], _absent(x, y, sorted(set(names) - {x})))
    if len(names) == 1:
        return Chosen(next(iter(names)), None, ())
    unknown = tuple(sorted(name for name in names if part_and_stem(name)[1] not in LABELS))
    if not unknown or len(unknown) > MOST_OTHERS:
        raise no_samples(names, path)
    if len(unknown) == 1:
        return Chosen(unknown[0], _first({name: part_and_stem(name)[1] for name in names}, LABELS), ())
    return Chosen(None, _first({name: part_and_stem(name)[1] for name in names}, LABELS), unknown)


def no_samples(names: Collection[str], path: Path) -> DataError:
    """The error of a file whose samples cannot be told."""
    return DataError(f"{path} names none of its arrays x ({', '.join(sorted(names)[:5])}).", "Name them x and y.")


def _first(stems: dict[str, str], order: tuple[str, ...]) -> str | None:
    found = [name for stem in order for name in sorted(stems) if stems[name] == stem]
    return found[0] if found else None


def _absent(x: str, y: str | None, others: list[str]) -> str:
    if y is not None or not others:
        return ""
    return f"None of the arrays beside {x} ({', '.join(others[:5])}) is named as its labels: there are none."
