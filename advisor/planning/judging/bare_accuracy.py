"""How good the model itself is on the data, and what speaks against labels or inputs being what it was trained with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advisor.estimate import NORMAL_90
from advisor.planning.judging.accuracy import Accuracy
from advisor.units import show_share

SURER = 0.25
"""How far its own confidence may lie above its accuracy."""
BETTER = 0.3
"""By how much other labels must fit better to be named as the likely cause."""


def said_of_the_model(of: Accuracy) -> list[str]:
    """The undefended model's own measure, and a warning where it is near chance or far below its own confidence."""
    if of.bare is not None and of.why_not:
        return [f"What a defense costs in accuracy cannot be measured: {of.why_not}."]
    if of.bare is None or of.labels is None or (of.kind == "regression" and "true" not in of.method):
        return []
    found = of.undefended()["accuracy"]
    notes = [
        f"The undefended model's own {of.method.partition(' on ')[0]} is {show_share(found.value)} "
        f"({show_share(found.low)} to {show_share(found.high)}) on {len(of.bare):,} samples."
    ]
    if of.kind == "classes":
        notes += doubts(of.bare, of.labels)
    elif of.kind == "regression" and not found.high > 0:
        notes.append("That is no better than the mean of the labels: check their units and order, and --normalize.")
    elif of.kind == "ranking" and found.low <= 0.5:
        notes.append("That is near chance (50 %): check the labels, which output counts (--scores), and --normalize.")
    return notes


def doubts(outputs: Tensor, labels: Tensor) -> list[str]:
    """What speaks against class scores `[N, C]` and labels `[N]` belonging together; empty where nothing does."""
    n, classes = outputs.shape
    guess = outputs.argmax(1)
    right = (guess == labels).double()
    accuracy, stderr = float(right.mean()), float(right.std()) / math.sqrt(n)
    chance = float((guess.bincount(minlength=classes) / n * (labels.bincount(minlength=classes) / n)).sum())
    confidence = float(probabilities(outputs).amax(1).mean())
    near = accuracy - NORMAL_90 * stderr <= chance
    unsure = confidence - accuracy > SURER and confidence - accuracy > 3 * max(stderr, 0.5 / math.sqrt(n))
    if not (near or unsure):
        return []
    said = f"near chance ({show_share(chance)})" if near else f"far below its own confidence ({show_share(confidence)})"
    return [f"That is {said}. {_cause(guess, labels, accuracy, classes)}"]


def probabilities(outputs: Tensor) -> Tensor:
    """Outputs `[N, C]` that are probabilities as they are, others through softmax."""
    sums = outputs.sum(1)
    done = float(outputs.min()) >= 0 and bool(((sums - 1).abs() < 1e-3).all())
    return outputs if done else outputs.softmax(1)


def _cause(guess: Tensor, labels: Tensor, accuracy: float, classes: int) -> str:
    from scipy.optimize import linear_sum_assignment

    for step, said in ((1, "one higher"), (-1, "one lower")):
        moved = float((guess == labels + step).double().mean())
        if moved > accuracy + max(BETTER, 3 * math.sqrt(0.5 / len(labels))):
            return f"With labels {said} it would be right in {show_share(moved)}: they are off by one."
    pairs = torch.zeros(classes, classes)
    pairs.index_put_((labels, guess), torch.ones(len(labels)), accumulate=True)
    rows, columns = linear_sum_assignment(-pairs.numpy())
    best = float(pairs[rows, columns].sum()) / len(labels)
    if best > accuracy + BETTER and len(labels) >= 4 * int((pairs.sum(1) > 0).sum()):
        return (
            f"The labels do not agree with the model's order of the classes: in another order it would be right in "
            f"{show_share(best)} (class folders are sorted by name)."
        )
    return "Check that the labels are the model's classes in its order, and the normalisation (--normalize)."
