"""What a study is made on: what the attacker learns from, what is attacked, and what is wanted of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advisor.batches import first_scores
from advisor.columns import Column
from advisor.cut_view import DISCRETE, Targets
from advisor.cuts import Cut
from advisor.data.checks import labels_of
from advisor.data.roles import sides
from advisor.errors import DataError, NotMeasurableError
from advisor.graph import PartitionGraph
from advisor.measures.flat_rows import flat
from advisor.measures.images import PICTURE_SIDE, is_image_batch, picture_side, pictures, ssim
from advisor.panel import panel_size
from advisor.value_range import UNIT, ValueRange

AS_GIVEN = "inputs as given"
OF_PICTURES = ("linear_nmse", "kernel_nmse", "ka_mse", "ka_nmse", "ka_ssim", "score", "score_ssim")
"""Columns that compare reconstructions with the inputs."""


@dataclass(frozen=True, eq=False)
class StudySamples:
    """Samples of one forward pass.

    Attributes:
        inputs: flat tensors `[n, ...]`, those of the attacker and the private ones.
        targets: what is wanted of them, and who has which.
    """

    inputs: tuple[Tensor, ...]
    targets: Targets


def study_samples(
    graph: PartitionGraph, x: Any, y: Tensor | None = None, aux: Any = None, aux_y: Tensor | None = None,
    seed: int = 0, cut: Cut | None = None,
) -> StudySamples:  # fmt: skip
    """As many of the samples as one forward pass takes, from both sides.

    Args:
        graph: the traced model.
        x: private samples: a tensor `[N, ...]`, or a tuple or dict of them.
        y: `[N]` labels; None takes the model's own predictions for both sides.
        aux: samples that the attacker learns from; None: three quarters of `x`, by the hash of each.
        aux_y: labels of these, likewise.
        seed: of the choice, and of the division.
        cut: the only one that is looked at: then they may be more; None for all cuts.

    Raises:
        DataError: when they do not fit the model, their labels do not fit them, or they are too few.
    """
    inputs, labels = _labelled(graph, x, y)
    if len(inputs[0]) < 2 and aux is None:
        raise DataError(f"Leakage needs at least 2 samples, got {len(inputs[0])}.", "Pass more data.")
    if aux is None:
        learn, private = sides(inputs, seed)
    else:
        own, own_labels = _labelled(graph, aux, aux_y)
        both = labels is not None and own_labels is not None
        labels = torch.cat([own_labels, labels]) if both else None  # type: ignore[list-item]
        inputs = tuple(torch.cat(pair) for pair in zip(own, inputs, strict=True))
        learn, private = torch.arange(len(own[0])), torch.arange(len(own[0]), len(inputs[0]))
    draw = torch.Generator().manual_seed(seed)
    rows = _panel(graph, learn, private, draw, cut)
    rows = rows.sort().values if aux is None else rows[torch.randperm(len(rows), generator=draw)]
    mine = torch.isin(rows, learn)
    chosen = tuple(t[rows] for t in inputs)
    return StudySamples(chosen, _targets(graph, chosen, None if labels is None else labels[rows], mine))


def targets_for(graph: PartitionGraph, inputs: tuple[Tensor, ...], y: Tensor | None, seed: int) -> Targets:
    """What an attacker wants of these flat inputs, who learns from three quarters of them, by the hash of each."""
    learn, _ = sides(inputs, seed)
    return _targets(graph, inputs, y, torch.isin(torch.arange(len(inputs[0])), learn))


def _targets(graph: PartitionGraph, inputs: tuple[Tensor, ...], y: Tensor | None, mine: Tensor) -> Targets:
    pixels, images, note = pixels_of(inputs)
    labels, classes = _labels(graph, inputs, y)
    train, test = mine.nonzero()[:, 0], (~mine).nonzero()[:, 0]
    return Targets(pixels, images, labels, y is not None, train, test, classes, note)


def pixels_of(inputs: tuple[Tensor, ...]) -> tuple[Tensor, bool, str]:
    """What a reconstruction is held against: `[n, ...]` images of the size that is asked, else `[n, d]`; images?; why.

    Discrete inputs have nothing to hold against: zeros `[n, 1]`.
    """
    if len(inputs) == 1 and is_image_batch(inputs[0]):
        pixels = pictures(inputs[0])
        return pixels, True, _at_size(pixels, inputs[0])
    if floats := [flat(t).float() for t in inputs if t.dtype.is_floating_point]:
        return torch.cat(floats, 1), False, AS_GIVEN
    return torch.zeros(len(inputs[0]), 1), False, DISCRETE


def _at_size(pixels: Tensor, original: Tensor) -> str:
    """At which size, where images are larger than usual or are reduced."""
    if pixels.shape == original.shape:
        large = max(pixels.shape[-2:]) > PICTURE_SIDE
        return f"images reconstructed at {tuple(pixels.shape[-2:])} pixels, their own size" if large else AS_GIVEN
    return f"images reconstructed at {tuple(pixels.shape[-2:])} pixels (at most {picture_side()} a side)"


def said_at_size(columns: dict[str, Column], targets: Targets) -> dict[str, Column]:
    """The columns, those of what an attacker reconstructs with the size at which it is held against the inputs."""
    if not targets.images or targets.note == AS_GIVEN:
        return columns
    said = f"{targets.note}: finer detail is not judged" if "at most" in targets.note else targets.note
    return columns | {
        name: dataclasses.replace(columns[name], method=f"{columns[name].method}; {said}")
        for name in OF_PICTURES
        if name in columns
    }


def values_of(inputs: tuple[Tensor, ...]) -> ValueRange:
    """Between which values images lie; [0, 1] for any other inputs."""
    images = len(inputs) == 1 and is_image_batch(inputs[0])
    return ValueRange.of(inputs[0]) if images else UNIT


def mean_image_ssim(targets: Targets) -> float:
    """SSIM of the attacker's mean image with the held-out ones; NaN where inputs are no images."""
    if not targets.images:
        return math.nan
    original = targets.pixels[targets.test]
    mean = targets.pixels[targets.train].mean(0).expand_as(original)
    try:
        return float(ssim(mean.contiguous(), original).mean())
    except NotMeasurableError:
        return math.nan


def elements_of(inputs: Sequence[Tensor]) -> int:
    """Of one sample, all inputs together."""
    return sum(t[0].numel() for t in inputs)


def _labelled(graph: PartitionGraph, x: Any, y: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor | None]:
    inputs = graph.flat(x)
    return inputs, labels_of(y, len(inputs[0]))


def _panel(
    graph: PartitionGraph, learn: Tensor, private: Tensor, draw: torch.Generator, cut: Cut | None
) -> Tensor:  # fmt: skip
    """Positions of as many samples as one pass takes: of each side its share; a third is private where there are many.

    An attacker with far more samples than there are private ones would leave hardly any to be scored on.
    """
    count = len(learn) + len(private)
    size = panel_size(graph, count, cut)
    scored = max(round(size * len(private) / count), min(len(private), size // 3))
    scored = min(max(scored, 1), size - 1)
    return torch.cat([_some(learn, size - scored, draw), _some(private, scored, draw)])


def _some(rows: Tensor, count: int, draw: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=draw)[:count]]


def _labels(graph: PartitionGraph, inputs: tuple[Tensor, ...], y: Tensor | None) -> tuple[Tensor, int]:
    """True labels, else the model's predictions; one class where it is no classifier."""
    output = first_scores(graph, inputs if y is None else tuple(t[:2] for t in inputs))
    classes = int(output.shape[1]) if output is not None and output.dim() == 2 else 1
    if y is not None:
        return y.long(), max(classes, int(y.max()) + 1)
    if output is None or output.dim() != 2 or classes < 2 or not graph.scores_classes:
        return torch.zeros(len(inputs[0]), dtype=torch.long), 1
    return output.argmax(1), classes
