"""Samples of a fit: what goes in, what the undefended model answers, and activations that are computed once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advisor.batches import carried
from advisor.defenses.training.base import FitTask
from advisor.errors import AdvisorError

HELD_BACK = 0.1
"""Of the training samples, to stop by, where no validation samples are given."""

CACHE_BYTES = 2**30
"""Activations of a fixed edge half are computed once where they fit; else anew for each batch."""


@dataclass(frozen=True, eq=False)
class FitSamples:
    """Samples of one part of a fit.

    Attributes:
        inputs: flat, each `[N, ...]`.
        labels: `[N, ...]`, or None: the fit learns what the undefended model answers.
        answers: its floating outputs, each `[N, ...]`.
        cached: activations at the cut, each `[N, ...]`; None where the edge half runs anew for each batch.
        hidden: `[N, ...]` what a payload is to hide where no input is a floating-point number: the undefended model's
            activation at the cut, which tells the ids. None elsewhere.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None
    answers: tuple[Tensor, ...]
    cached: tuple[Tensor, ...] | None
    hidden: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def at(self, rows: Tensor) -> FitSamples:
        """The samples at these positions."""
        cached = None if self.cached is None else tuple(t[rows] for t in self.cached)
        labels = None if self.labels is None else self.labels[rows]
        hidden = None if self.hidden is None else self.hidden[rows]
        inputs, answers = (tuple(t[rows] for t in whole) for whole in (self.inputs, self.answers))
        return FitSamples(inputs, labels, answers, cached, hidden)


def divided(task: FitTask, fixed: bool) -> tuple[FitSamples, FitSamples]:
    """Samples to learn from, and samples to stop by.

    Args:
        task: of the fit.
        fixed: whether the edge half stays as it is, so that its activations can be kept.
    """
    inputs, labels, count = task.inputs, task.labels, len(task.inputs[0])
    if task.validation is not None:
        return _prepared(task, inputs, labels, fixed), _prepared(task, task.validation, None, fixed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(task.seed))
    cut = max(1, int(HELD_BACK * count))
    held, fit = order[:cut], order[cut:]
    own = None if labels is None else labels[fit]
    learnt, kept = (tuple(t[rows] for t in inputs) for rows in (fit, held))
    return _prepared(task, learnt, own, fixed), _prepared(task, kept, None, fixed)


def _prepared(task: FitTask, inputs: tuple[Tensor, ...], labels: Tensor | None, fixed: bool) -> FitSamples:
    """The edge half runs once for the answers and what is kept, where that fits into memory."""
    graph, last = task.graph, len(task.graph.cuts) - 1
    fits = len(inputs[0]) * task.cut.bytes <= CACHE_BYTES
    activation = carried(graph, inputs, 0, task.cut.index) if fits else None
    outputs = carried(graph, activation or inputs, task.cut.index if activation else 0, last)
    answers = tuple(t.float() for t in outputs if t.is_floating_point() and t.dim())
    if not answers:
        raise AdvisorError("This model returns no floating-point numbers to learn from.", "Return its scores too.")
    hidden = None
    if not any(t.is_floating_point() for t in inputs):
        hidden = next((t.float() for t in activation or () if t.is_floating_point()), None)
    return FitSamples(inputs, labels, answers, activation if fixed else None, hidden)
