"""What labels and outputs mean together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import advisor
from advisor.data.conversion import fitted
from advisor.data.samples import Samples, load_samples
from advisor.data.tasks.chosen_output import outputs_of
from advisor.data.tasks.labels import in_plain_form
from advisor.data.tasks.meaning import told_by_labels, told_by_outputs, understood, with_labels
from advisor.errors import AdvisorError, DataError

G = torch.Generator().manual_seed(0)
N = 30
CLASSES = torch.arange(N) % 4
VECTOR, ONE, MAP, WORDS = (torch.randn(N, *s, generator=G) for s in ((4,), (1,), (4, 6, 6), (7, 4)))


@pytest.mark.parametrize(
    ("y", "answer", "kind"),
    [
        (CLASSES, VECTOR, "classes"),
        (CLASSES.float(), VECTOR, "classes"),
        (CLASSES[:, None], VECTOR, "classes"),
        (F.one_hot(CLASSES), VECTOR, "classes"),
        ((torch.rand(N, 4, generator=G) < 0.5).float(), VECTOR, "multilabel"),
        (torch.rand(N, 4, generator=G) < 0.5, VECTOR, "multilabel"),
        (torch.randn(N, 4, generator=G), VECTOR, "regression"),
        (torch.rand(N, generator=G), ONE, "regression"),
        (torch.arange(N) + 20, ONE, "regression"),
        (CLASSES % 2, ONE, "ranking"),
        (CLASSES % 2, ONE[:, 0], "ranking"),
        (torch.randint(0, 4, (N, 6, 6), generator=G), MAP, "dense"),
        (torch.randint(0, 4, (N, 1, 6, 6), generator=G), MAP, "dense"),
        (torch.randint(0, 2, (N, 6, 6), generator=G), MAP[:, :1], "dense"),
        (torch.randint(0, 4, (N, 7), generator=G), WORDS, "dense"),
        (torch.rand(N, 1, 6, 6, generator=G), MAP[:, :1], "regression"),
        (CLASSES, MAP, "regression"),
    ],
)
def test_labels_tell_the_task_by_type_and_shape(y: Tensor, answer: Tensor, kind: str) -> None:
    assert told_by_labels(y, answer)[0] == kind
    with_labels(kind, y, answer, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        (VECTOR, "classes", "one class a sample is assumed"),
        (VECTOR.softmax(1), "classes", "probabilities that sum to one"),
        (VECTOR.sigmoid(), "multilabel", "do not sum to one"),
        (VECTOR + torch.tensor([0, 0, 9.0, 0]), "regression", "output 2 is the largest for 100%"),
        (ONE, "regression", "no vector of scores"),
        (MAP, "regression", "no vector of scores"),
    ],
)
def test_without_labels_the_outputs_tell(answer: Tensor, kind: str, why: str) -> None:
    found = told_by_outputs(answer)
    assert found[0] == kind
    assert why in found[1]


@pytest.mark.parametrize(
    ("y", "answer", "found", "said"),
    [
        (CLASSES % 2 * 2 - 1, ONE, CLASSES % 2, "-1 and 1"),
        (CLASSES % 2 * 2 - 1, VECTOR, CLASSES % 2, "-1 and 1"),
        (F.one_hot(CLASSES) * 2 - 1, VECTOR, F.one_hot(CLASSES), "-1 and 1"),
        (F.one_hot(CLASSES).float() * 0.9 + 0.025, VECTOR, CLASSES, "largest share"),
        (
            F.one_hot(torch.arange(N * 36).view(N, 6, 6) % 4).movedim(3, 1),
            MAP,
            torch.arange(N * 36).view(N, 6, 6) % 4,
            "one 1 at",
        ),
        (F.one_hot(CLASSES), VECTOR, F.one_hot(CLASSES), ""),
        (torch.full((N, 4), 0.25), VECTOR, torch.full((N, 4), 0.25), ""),
        (torch.ones(N), ONE, torch.ones(N), ""),
    ],
)
def test_labels_that_say_it_otherwise(y: Tensor, answer: Tensor, found: Tensor, said: str) -> None:
    plain, note = in_plain_form(y, answer)
    assert torch.equal(plain, found)
    assert said in note if said else not note


def test_synthetic_samples_may_all_be_of_one_class() -> None:
    assert told_by_outputs(VECTOR + torch.tensor([0, 0, 9.0, 0]), made=True)[0] == "classes"


@pytest.mark.parametrize(
    ("kind", "y", "answer", "match"),
    [
        ("multilabel", CLASSES, VECTOR, r"do not fit the task multilabel with an output of 4"),
        ("dense", CLASSES, VECTOR, "do not fit the task dense"),
        ("ranking", CLASSES, ONE, "Ranking needs labels 0 or 1"),
        ("regression", CLASSES.float(), VECTOR, "do not fit the task regression"),
        ("classes", CLASSES - 3, VECTOR, "go down to -3"),
    ],
)
def test_labels_of_another_task_are_refused(kind: Any, y: Tensor, answer: Tensor, match: str) -> None:
    with pytest.raises(DataError, match=match):
        with_labels(kind, y, answer, 0)


def test_labels_that_fit_nothing_are_refused() -> None:
    with pytest.raises(DataError, match=r"Labels of shape 3×5 do not fit an output of 4.*--no-labels"):
        told_by_labels(torch.rand(N, 3, 5), VECTOR)


# ---- with a model ----------------------------------------------------------------------------------------------------


class Two(nn.Module):
    """Features and the scores that are made of them."""

    def __init__(self, named: bool = False) -> None:
        super().__init__()
        self.f, self.h, self.named = nn.Linear(8, 6), nn.Linear(6, 4), named

    def forward(self, x: Tensor) -> Any:
        f = self.f(x).relu()
        return {"aux": self.h(f), "logits": self.h(f) * 2} if self.named else (f, self.h(f))


X = 3 * torch.randn(N, 8, generator=G)


def understanding(model: nn.Module, y: Tensor | None, **options: Any) -> tuple[Any, Samples]:
    graph = advisor.trace(model.eval(), torch.zeros(2, 8))
    return understood(graph, fitted(load_samples((X, y)), graph), **options)


def test_of_several_outputs_the_one_that_fits_the_labels_counts() -> None:
    torch.manual_seed(0)
    model = Two()
    nn.init.normal_(model.h.weight)
    graph, samples = understanding(model, model(X)[1].argmax(1))
    assert graph.task.position == 1
    assert any("1 (4), 1 is read as the scores: it agrees with the labels best, in 100%" in n for n in samples.notes)


def test_without_labels_the_output_made_of_another_counts() -> None:
    graph, samples = understanding(Two(), None)
    assert graph.task.position == 1
    assert any("it is computed from another" in note for note in samples.notes)


def test_outputs_are_found_by_name_or_number() -> None:
    graph, _ = understanding(Two(named=True), CLASSES)
    assert [o.name for o in outputs_of(graph)] == ["aux", "logits"]
    assert graph.task.position == 1
    assert understanding(Two(named=True), CLASSES, scores="aux")[0].task.position == 0
    assert understanding(Two(), CLASSES % 3, scores=0)[0].task.position == 0
    with pytest.raises(AdvisorError, match=r"has no output 'head'. It has: aux \(4\), logits \(4\)"):
        understanding(Two(named=True), CLASSES, scores="head")


def test_the_task_is_said_and_cuts_stay() -> None:
    graph = advisor.trace(nn.Linear(8, 4), torch.zeros(2, 8))
    cuts = graph.cuts
    known, samples = understood(graph, fitted(load_samples((X, CLASSES)), graph))
    assert known.cuts is cuts
    assert known.task.kind == "classes"
    assert "Task: classes, since there is one whole number a sample." in samples.notes
    assert understood(graph, samples, "regression")[0].task.kind == "regression"
    with pytest.raises(AdvisorError, match=r"no task 'top5'. Use auto, classes, multilabel"):
        understood(graph, samples, "top5")


def test_folders_named_by_class_numbers_give_these_numbers() -> None:
    graph = advisor.trace(nn.Linear(8, 9), torch.zeros(2, 8))
    folder = Samples(X, CLASSES % 3, "folder", "", classes=("2", "5", "7"))
    _, samples = understood(graph, folder)
    assert set(samples.y.tolist()) == {2, 5, 7}  # type: ignore[union-attr]
    assert any("taken as numbers of the model's 9 outputs" in note for note in samples.notes)
    words = Samples(X, CLASSES % 3, "folder", "", classes=("cat", "dog", "eel"))
    with pytest.raises(DataError, match=r"3 classes, the model has 9 outputs. Name class folders by .*--no-labels"):
        understood(graph, words)


def test_the_library_judges_by_what_the_labels_mean() -> None:
    from sklearn.metrics import r2_score

    torch.manual_seed(0)
    model = Two()
    graph = advisor.trace(model.eval(), torch.zeros(2, 8))
    truth = model(X)[1].detach() + 0.1 * torch.randn(N, 4, generator=G)
    found = advisor.accuracy(graph, X, truth, scores=1)
    assert "R²" in found.method
    assert found.value == pytest.approx(
        r2_score(truth, model(X)[1].detach(), multioutput="variance_weighted"), abs=1e-5
    )
