"""`--normalize`: what the user says of the model's own input normalisation."""

from __future__ import annotations

import re
from typing import Any

from advisor.errors import AdvisorError, DataError

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET: Normalization = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OVERSHOOT = 0.1
"""How far resampling may take images out of [0, 1]."""

_EXPECTED = "Use auto, none, imagenet or mean=0.5/0.5/0.5,std=0.2/0.2/0.2."


def chosen_normalization(wanted: str, known: Normalization | None) -> tuple[Normalization | None, str]:
    """The normalisation to insert, and a sentence that says which.

    Args:
        wanted: "auto" (what comes with known weights, else none), "none", "imagenet" or "mean=…,std=…" with numbers
            separated by slashes or spaces.
        known: what comes with the model's weights.

    Raises:
        AdvisorError: on anything else.
    """
    if wanted == "auto":
        if known is None:
            return None, "No normalisation is inserted: the model is taken to accept inputs as they are."
        return known, f"Inputs are normalised as the weights expect: mean {_shown(known[0])}, std {_shown(known[1])}."
    if wanted == "none":
        return None, "No normalisation is inserted."
    if wanted == "imagenet":
        return (
            IMAGENET,
            f"Inputs are normalised by ImageNet's mean {_shown(IMAGENET[0])} and std {_shown(IMAGENET[1])}.",
        )
    match = re.fullmatch(r"\s*mean=([^a-z]+?)[,;\s]*std=([^a-z]+)", wanted)
    if match is None:
        raise AdvisorError(f"{wanted!r} is no normalisation.", _EXPECTED)
    mean, std = (_numbers(part) for part in match.groups())
    if len(mean) != len(std) or any(s <= 0 for s in std):
        raise AdvisorError(f"{wanted!r} needs as many positive std as mean values.", _EXPECTED)
    return (mean, std), f"Inputs are normalised by mean {_shown(mean)} and std {_shown(std)}, as asked."


def check_not_yet_normalised(x: Any) -> None:
    """Normalised twice, images are none that the model ever saw.

    Args:
        x: samples that are to be normalised; anything but a tensor of images passes.

    Raises:
        DataError: when images lie far from [0, 1].
    """
    if getattr(x, "ndim", 0) != 4 or not x.is_floating_point():
        return
    low, high = (float(value) for value in x.aminmax())
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise DataError(
            f"The images lie in [{low:.3g}, {high:.3g}], and are to be normalised from [0, 1].",
            "If they are normalised already, pass --normalize none; else scale them to [0, 1].",
        )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in re.split(r"[/,;\s]+", text.strip(" ,;/")))
    except ValueError:
        raise AdvisorError(f"{text!r} holds something that is no number.", _EXPECTED) from None


def _shown(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:g}" for value in values)
