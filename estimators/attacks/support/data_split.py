"""Who has what in an attack: the private samples, and the attacker's own with the labels it knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advisor.batches import first_scores
from advisor.data.checks import labels_of
from advisor.data.roles import sides
from advisor.data.synthetic.synthesis import synthesise
from advisor.errors import DataError
from advisor.estimators.attacks.base import Attack, Auxiliary, Effort
from advisor.estimators.inversion.alignment import BUDGETS
from advisor.estimators.study.study_samples import pixels_of, values_of
from advisor.graph import PartitionGraph

SYNTHETIC = {"quick": 512, "strong": 4000}
"""Samples that are made up where the attacker learns from synthetic ones."""


@dataclass(frozen=True, eq=False)
class DataSplit:
    """Who has what: private samples with labels, auxiliary ones with labels and where they come from."""

    private: tuple[Tensor, ...]
    labels: Tensor | None
    rows: Tensor
    auxiliary: tuple[Tensor, ...] | None
    auxiliary_labels: Tensor | None
    what: str


def split_data(
    graph: PartitionGraph, chosen: Attack, x: Any, aux: Any, y: Tensor | None, aux_y: Tensor | None, effort: Effort,
    seed: int,
) -> DataSplit:  # fmt: skip
    """Private and auxiliary samples; the latter are given, made up, or three quarters of the former, by their hash.

    Raises:
        DataError: when samples do not fit the model, or labels the samples.
    """
    everything = graph.flat(x)
    rows, needs = torch.arange(len(everything[0])), "auxiliary inputs" in chosen.threat.has
    truth = _labels(graph, everything, y, chosen)
    learning, learning_y, what = None, None, ""
    if isinstance(aux, str):
        if aux != "synthetic":
            raise DataError(f"Auxiliary samples {aux!r} are unknown.", 'Pass samples, None or "synthetic".')
        made = synthesise(graph, SYNTHETIC[effort], seed + 2, values=values_of(everything))
        learning, what = graph.flat(made.x), made.description
        learning_y = _labels(graph, learning, None, chosen)
    elif aux is not None:
        learning, what = graph.flat(aux), "auxiliary samples as given"
        learning_y = _labels(graph, learning, aux_y, chosen)
    elif needs:
        learnt, rows = sides(everything, seed)
        learning, what = tuple(t[learnt] for t in everything), "auxiliary samples of the same distribution"
        learning_y = None if truth is None else truth[learnt]
    most = BUDGETS[effort].held_out or len(rows)
    if len(rows) > most:
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most].sort().values]
    private = tuple(t[rows] for t in everything)
    return DataSplit(private, None if truth is None else truth[rows], rows, learning, learning_y, what)


def _labels(graph: PartitionGraph, inputs: tuple[Tensor, ...], y: Tensor | None, chosen: Attack) -> Tensor | None:
    """Labels where the attack is about them: as given, else what the model says."""
    if not {"few labels", "labels"} & set(chosen.threat.has) and chosen.threat.recovers != "label":
        return None
    if (given := labels_of(y, len(inputs[0]))) is not None:
        if given.dim() != 1 or not torch.equal(given, given.long().to(given.dtype)):
            raise DataError("An attack on labels takes one class number a sample.", "Pass y as whole numbers [N].")
        return given.long()
    scores = first_scores(graph, inputs)
    if scores is None or scores.dim() != 2 or scores.shape[1] < 2 or not graph.scores_classes:
        raise DataError("This model gives no class scores: there are no labels to recover.", "Pass y.")
    return scores.argmax(1)


def classes_of(graph: PartitionGraph, given: DataSplit) -> int:
    """How many classes there are, by the model's output and the labels; 1 where it is no classifier."""
    known = [t for t in (given.labels, given.auxiliary_labels) if t is not None and len(t)]
    shape = graph.cuts[-1].tensors[0].shape if graph.cuts[-1].tensors else ()
    return max([1, *(int(t.max()) + 1 for t in known), *(int(s) for s in (shape if len(shape) == 1 else ()))])


def auxiliary_of(given: DataSplit, effort: Effort, seed: int, aux_samples: int | None, labels: int) -> Auxiliary | None:
    """The attacker's own samples in random order, so that the first few are as good as any."""
    if given.auxiliary is None:
        return None
    n, most = len(given.auxiliary[0]), min(m for m in (aux_samples, BUDGETS[effort].auxiliary, 10**9) if m)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:most]
    inputs = tuple(t[order] for t in given.auxiliary)
    few = None
    if given.auxiliary_labels is not None:
        few = few_labels(given.auxiliary_labels[order], labels, seed)
    return Auxiliary(inputs, pixels_of(inputs)[0], few, f"{given.what}, {len(order):,} of {n:,}")


def few_labels(labels: Tensor, count: int, seed: int) -> Tensor:
    """`labels` with all but `count` of them hidden (-1): as many of each class as there are, drawn at random."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    turn = torch.zeros(len(labels), dtype=torch.long)
    for label in torch.unique(labels):
        mine = order[labels[order] == label]
        turn[mine] = torch.arange(len(mine))
    shown = order[turn[order].argsort(stable=True)][: max(count, 0)]
    hidden = torch.full_like(labels, -1)
    hidden[shown] = labels[shown]
    return hidden
