"""What labels and outputs mean together: the task as asked for, or as their types, shapes and values tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisor.data.checks import WITHOUT
from advisor.data.tasks.chosen_output import answer_of
from advisor.data.tasks.labels import check_classes, class_numbers, in_plain_form, is_one_hot, numbered_by_name
from advisor.data.tensors import shown
from advisor.errors import DataError
from advisor.task import Kind, Task, check_kind

if TYPE_CHECKING:
    from torch import Tensor

    from advisor.data.samples import Samples
    from advisor.graph import PartitionGraph

LOOK = 64
"""Samples whose outputs are looked at."""
ONE_SIDED = 0.9
"""Share of samples with one largest output from which on top-1 would notice nothing."""


def understood(
    graph: PartitionGraph, samples: Samples, task: str = "auto", scores: str | int | None = None, made: bool = False
) -> tuple[PartitionGraph, Samples]:
    """The graph that knows its task, and the samples with labels as that task needs them; notes say what was taken.

    Args:
        graph: the traced model.
        samples: fitted to it.
        task: its name, or "auto".
        scores: name or number of the output that counts; None chooses.
        made: whether the samples are synthetic, so that one class may be the answer to all.

    Raises:
        AdvisorError: on an unknown task or output.
        DataError: on labels that do not fit the task or the model's output.
    """
    check_kind(task)
    look = LOOK if samples.y is None or len(graph.cuts[-1].tensors) > 1 else 2
    values = _values(graph, [t[:look] for t in graph.flat(samples.x)])
    some = None if samples.y is None else samples.y[:look]
    position, said = answer_of(graph, scores, values, some)
    if not any(v.is_floating_point() for v in values):
        return graph, samples
    answer = values[position]
    if samples.y is None:
        kind, why = (task, "as asked") if task != "auto" else told_by_outputs(answer, made)
        found, y = Task(kind, position, _axis_of(answer) if kind == "dense" else 1), None  # type: ignore[arg-type]
    else:
        y, plainly = (samples.y, "") if task == "regression" else in_plain_form(samples.y, answer)
        samples = samples.of(samples.x, y, plainly) if plainly else samples
        kind, why = (task, "as asked") if task != "auto" else told_by_labels(y, answer)
        samples = numbered_by_name(samples, answer) if kind == "classes" else samples
        found, y = with_labels(kind, samples.y, answer, position)  # type: ignore[arg-type]
    notes = [note for note in (said, f"Task: {found.kind}, {why}.") if note]
    if y is not None and found.kind == "classes":
        classes = answer.shape[1] if answer.dim() == 2 else None
        samples = check_classes(samples.of(samples.x, y), classes)
    return graph.with_task(found), samples.of(samples.x, y, *notes)


def _values(graph: PartitionGraph, inputs: list[Tensor]) -> list[Tensor]:
    from advisor.batches import carried

    last = len(graph.cuts) - 1
    return [v.float() if v.is_floating_point() else v for v in carried(graph, inputs, 0, last)]


def told_by_outputs(answer: Tensor, made: bool = False) -> tuple[Kind, str]:
    """The task of outputs `[n, ...]` without labels, and why."""
    if answer.dim() != 2 or answer.shape[1] < 2:
        return (
            "regression",
            f"since an output of {shown(answer.shape[1:])} is no vector of scores (--task says otherwise)",
        )
    low, high, sums = float(answer.min()), float(answer.max()), answer.sum(1)
    if low >= 0 and bool(((sums - 1).abs() < 1e-3).all()):
        return "classes", "since the outputs are probabilities that sum to one"
    if low >= 0 and high <= 1:
        return "multilabel", "since the outputs lie in [0, 1] and do not sum to one (--task says otherwise)"
    share = float(answer.argmax(1).bincount().max()) / len(answer)
    if share >= ONE_SIDED and len(answer) > 2 and not made:
        largest = int(answer.argmax(1).mode().values)
        return "regression", (
            f"since output {largest} is the largest for {share:.0%} of the samples, so that top-1 would notice nothing "
            "(--task classes says otherwise)"
        )
    return "classes", (
        f"since the output is a vector of {answer.shape[1]} numbers; one class a sample is assumed (--task multilabel, "
        "regression, … say otherwise)"
    )


def told_by_labels(y: Tensor, answer: Tensor) -> tuple[Kind, str]:
    """The task of labels `[N, ...]` and outputs `[n, ...]`, and why."""
    flat = y[:, 0] if y.dim() == 2 and y.shape[1] == 1 else y
    whole = not flat.is_floating_point() or bool((flat == flat.round()).all())
    vector = answer.dim() == 2 and answer.shape[1] > 1
    binary = bool(((y == 0) | (y == 1)).all())
    if flat.dim() == 1 and vector:
        return ("classes", "since there is one whole number a sample") if whole else (
            "regression", "since the labels are real numbers")  # fmt: skip
    if flat.dim() == 1 and answer[0].numel() == 1:
        return ("ranking", "since labels are 0 or 1 and there is one score a sample") if binary else (
            "regression", "since there is one number a sample")  # fmt: skip
    if y.dim() == 2 and vector and binary and y.shape[1] == answer.shape[1]:
        return ("classes", "since each row of the labels holds one 1") if is_one_hot(y) else (
            "multilabel", "since rows of the labels hold several ones or none")  # fmt: skip
    if whole and _places(y, answer) is not None:
        return "dense", "since there is a whole number at each place of the output"
    if y[0].numel() == answer[0].numel():
        return "regression", "since the labels are as many numbers as the output"
    if flat.dim() == 1 and whole:
        return "regression", (
            f"since an output of {shown(answer.shape[1:])} has no class a sample; labels are used for leakage alone"
        )
    raise DataError(
        f"Labels of shape {shown(y.shape[1:])} do not fit an output of {shown(answer.shape[1:])}.",
        f"Say which output they belong to (--scores), or {WITHOUT}",
    )


def with_labels(kind: Kind, y: Tensor, answer: Tensor, position: int) -> tuple[Task, Tensor]:
    """The task, and labels in its form: classes `[N]`, multi-hot `[N, C]`, numbers as the output, classes a place.

    Raises:
        DataError: when they are not of that form.
    """
    if kind == "classes":
        return Task(kind, position), class_numbers(y)
    if kind == "ranking":
        y = y[:, 0] if y.dim() == 2 and y.shape[1] == 1 else y
        if y.dim() != 1 or not bool(((y == 0) | (y == 1)).all()) or answer[0].numel() > 2:
            raise DataError("Ranking needs labels 0 or 1, and one score a sample.", f"Pass such labels, or {WITHOUT}")
        return Task(kind, position), y.long()
    if kind == "multilabel":
        if y.dim() != 2 or y.shape[1:] != answer.shape[1:] or not bool(((y == 0) | (y == 1)).all()):
            raise _wrong(kind, y, answer, f"0 or 1 for each of {shown(answer.shape[1:])} outputs")
        return Task(kind, position), y.float()
    if kind == "dense":
        places = _places(y, answer)
        if places is None:
            raise _wrong(kind, y, answer, "a class at each place of the output")
        return Task(kind, position, places[0]), places[1]
    if y[0].numel() == answer[0].numel():
        return Task(kind, position), y.reshape(len(y), *answer.shape[1:]).float()
    if y.dim() == 1 and not y.is_floating_point():  # classes beside an output that scores none
        return Task(kind, position), y.long()
    raise _wrong(kind, y, answer, f"{shown(answer.shape[1:])} numbers a sample")


def _wrong(kind: str, y: Tensor, answer: Tensor, needs: str) -> DataError:
    return DataError(
        f"Labels of shape {shown(y.shape[1:])} do not fit the task {kind} with an output of {shown(answer.shape[1:])}.",
        f"Pass {needs}, or {WITHOUT}",
    )


def _places(y: Tensor, answer: Tensor) -> tuple[int, Tensor] | None:
    """Axis of classes and labels `[N, places...]` (int64) where the labels are a class at each place of the output."""
    if answer.dim() < 3:
        return None
    for labels in (y, y.squeeze(1) if y.dim() > 2 and y.shape[1] == 1 else y):
        shape = tuple(labels.shape[1:])
        if shape == tuple(answer.shape[2:]) and len(shape) > 0:
            if answer.shape[1] > 1:
                return 1, labels.long()
            if bool(((labels == 0) | (labels == 1)).all()):
                return 0, labels.long()
        if shape == tuple(answer.shape[1:-1]) and answer.shape[-1] > 1:
            return -1, labels.long()
    return None


def _axis_of(answer: Tensor) -> int:
    """Without labels, classes lie on axis 1 of a map, on the last of a sequence."""
    if answer.dim() < 3:
        raise DataError(f"An output of {shown(answer.shape[1:])} has no places.", "Use another --task.")
    if answer.shape[1] == 1:
        return 0
    return 1 if answer.dim() > 3 else -1
