"""What a plan answers: its accuracy on a part of the validation samples, on what is really sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from advisor.activations import Activations
from advisor.batches import carried, first_scores
from advisor.cuts import Cut
from advisor.defenses import Defense
from advisor.estimate import Estimate
from advisor.payload import Payload
from advisor.planning.evaluating.plan_setting import PlanSetting
from advisor.planning.judging.accuracy import Accuracy
from advisor.support import memory_limit

EVALUATION_SAMPLES = 1000
PARTS, FEWEST_JUDGED = (16, 4), 60
"""Of the samples, that accuracy is measured on first; and how few may tell anything."""
HELD_BYTES, HELD = 2**30, 8
"""Of the evaluation samples' activation at one cut, and the part of the memory that it may take at most."""
EVALUATION_BYTES = 2**28
"""Of outputs that are held against one another, as where a map comes out."""
EVALUATION_MACS = 4e11
"""Multiply-adds that one evaluation of accuracy may take where labels are made up: a few seconds on two cores."""


def growing(every: int) -> tuple[int, ...]:
    """Sizes of the subsets that accuracy is measured on, one after the other; all samples are the last."""
    return (*(every // part for part in PARTS if every // part >= FEWEST_JUDGED), every)


@dataclass(frozen=True, eq=False)
class PlanAccuracy(PlanSetting):
    """Measures accuracy."""

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The flat samples `[N, ...]` for validation: accuracy is measured on a random part of them."""
        return self.graph.flat(self.roles["validation"].x)

    @property
    def truth(self) -> Tensor | None:
        """Their labels `[N, ...]` as the graph's task has them; None: the undefended model's own output is the goal."""
        return self.roles["validation"].y

    @property
    def most_judged(self) -> int:
        """How many samples one measurement of accuracy takes at most."""
        most = min(EVALUATION_SAMPLES, max(16, EVALUATION_BYTES // max(1, self.graph.cuts[-1].bytes)))
        if self.truth is None:
            most = min(most, max(16, int(EVALUATION_MACS / max(1.0, self.profile["macs"].values[-1]))))
        return most

    @cached_property
    def rows(self) -> Tensor:
        """Which samples accuracy is measured on."""
        order = torch.randperm(len(self.inputs[0]), generator=torch.Generator().manual_seed(self.seed))
        return order[: min(self.most_judged, self.most_rows or self.most_judged)].sort().values

    @cached_property
    def evaluation(self) -> tuple[Tensor, ...]:
        """The samples accuracy is measured on."""
        return tuple(t[self.rows] for t in self.inputs)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """On how many samples accuracy is measured, one after the other where the one before decides nothing."""
        return growing(len(self.rows))

    @cached_property
    def undefended(self) -> Accuracy:
        """What the undefended model answers, to hold defended answers against."""
        truth = None if self.truth is None else self.truth[self.rows]
        return Accuracy(first_scores(self.graph, self.evaluation), truth, self.graph.task)

    def accuracy(self, cut: Cut, defense: Defense, rows: int | None = None) -> dict[str, Estimate]:
        """`accuracy` and `accuracy_drop` (absolute) by running the cloud half on what is really sent.

        Args:
            cut, defense: of what is sent.
            rows: how many of the samples, a random part of them that holds every smaller one; None for all.
        """
        part, held = self.part(rows), self.rows_held(cut)
        judged = self.undefended if part is None else self.undefended.taken(part)
        if defense.identity or judged.why_not:
            return judged.undefended()
        payload = Payload.of(self.graph, cut, defense)
        if held < len(self.rows):
            return judged.of(payload.scores_of(_taken(self.evaluation, part), self.seed, held))
        return judged.of(payload.scores(_taken(self.activations.at(cut), part), self.seed))

    def part(self, rows: int | None) -> Tensor | None:
        """Which of the samples that accuracy is measured on are the first so many; None for all."""
        if rows is None or rows >= len(self.rows):
            return None
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(self.seed))
        return order[:rows].sort().values

    def rows_held(self, cut: Cut) -> int:
        """Of how many evaluation samples the activation at a cut may be held at once."""
        return max(1, min(len(self.rows), int(memory_limit.at_most(HELD_BYTES, HELD) / max(1, cut.bytes))))

    def activation(self, cut: Cut) -> tuple[Tensor, ...]:
        """Undefended tensors of the evaluation samples, of some of them where all are too large."""
        rows = self.rows_held(cut)
        if rows == len(self.rows):
            return self.activations.at(cut)
        some = torch.linspace(0, len(self.rows) - 1, rows).long()
        return carried(self.graph, tuple(t[some] for t in self.evaluation), 0, cut.index)

    @cached_property
    def activations(self) -> Activations:
        """Undefended tensors of the evaluation samples."""
        return Activations(self.graph, self.evaluation)


def _taken(tensors: tuple[Tensor, ...], rows: Tensor | None) -> tuple[Tensor, ...]:
    return tensors if rows is None else tuple(tensor[rows] for tensor in tensors)
