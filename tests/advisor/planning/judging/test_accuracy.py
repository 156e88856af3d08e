"""Accuracy of defended outputs, against scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, r2_score, roc_auc_score
from torch import Tensor

from advisor.planning.judging.accuracy import Accuracy
from advisor.planning.judging.bare_accuracy import said_of_the_model
from advisor.planning.judging.resampling import counts, difference, statistic
from advisor.planning.judging.task_measures import average_precision, balanced_agreement, roc_auc
from advisor.task import Task

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR)


def test_classes_are_held_against_true_labels() -> None:
    bare, noisy, labels = normal(50, 4), normal(50, 4), torch.randint(0, 4, (50,), generator=GENERATOR)
    found = Accuracy(bare, labels).of(noisy)
    right, before = accuracy_score(labels, noisy.argmax(1)), accuracy_score(labels, bare.argmax(1))
    assert found["accuracy"].value == pytest.approx(right)
    assert found["accuracy_drop"].value == pytest.approx(before - right)
    assert found["accuracy_drop"].method == "accuracy against true labels on 50 samples; paired over the samples"


@pytest.mark.parametrize("labels", [None, torch.zeros(50, dtype=torch.int64)])
def test_a_model_that_answers_nan_is_not_said_to_lose_nothing(labels: Tensor | None) -> None:
    bare = normal(50, 4)
    bare[3:5, 1] = math.nan
    judged = Accuracy(bare, labels)
    assert judged.why_not == "the model's own output is NaN for 2 of 50 samples"
    assert all(math.isnan(found.value) for found in (*judged.of(bare).values(), *judged.undefended().values()))
    assert said_of_the_model(judged)[0].endswith(f"cannot be measured: {judged.why_not}.")


def test_without_labels_agreement_counts() -> None:
    bare, noisy = normal(50, 4), normal(50, 4)
    found = Accuracy(bare, None).of(noisy)
    assert found["accuracy"].value == pytest.approx(accuracy_score(bare.argmax(1), noisy.argmax(1)))
    assert "agreement with the undefended model on 50 samples" in found["accuracy"].method


@pytest.mark.parametrize("shape", [(), (1,), (3, 5, 5), (7, 2)])
def test_other_outputs_are_held_against_the_undefended_by_explained_variance(shape: tuple[int, ...]) -> None:
    bare = normal(40, *shape)
    noisy = bare + 0.3 * normal(40, *shape)
    found = Accuracy(bare, torch.zeros(40, dtype=torch.long)).of(noisy)
    flat = (bare.reshape(40, -1).double().numpy(), noisy.reshape(40, -1).double().numpy())
    expected = r2_score(*flat, multioutput="variance_weighted")
    assert found["accuracy"].value == pytest.approx(expected, abs=1e-6)
    assert found["accuracy_drop"].value == pytest.approx(1 - expected, abs=1e-6)
    assert found["accuracy_drop"].stderr > 0
    assert "explained variance" in found["accuracy_drop"].method


@pytest.mark.parametrize("bare", [normal(20, 3), normal(20), normal(20, 2, 3)])
def test_an_undefended_split_costs_nothing(bare: Tensor) -> None:
    found = Accuracy(bare, None).undefended()
    assert (found["accuracy"].value, found["accuracy_drop"].value, found["accuracy_drop"].stderr) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("bare", "why"),
    [
        (None, "the model's output holds no floating-point number"),
        (torch.ones(20, 1), "the model's output is the same for every sample"),
    ],
)
def test_what_cannot_be_measured_is_said(bare: Tensor | None, why: str) -> None:
    of = Accuracy(bare, None)
    for found in (of.undefended(), of.of(bare)):
        assert math.isnan(found["accuracy_drop"].value)
        assert found["accuracy_drop"].method == why


# ---- other tasks -----------------------------------------------------------------------------------------------------


def test_many_labels_are_judged_by_mean_average_precision() -> None:
    wanted = torch.rand(60, 5, generator=GENERATOR) < 0.3
    wanted[:, 4] = True  # tells nothing, and does not count
    bare, noisy = wanted + normal(60, 5), wanted + 3 * normal(60, 5)
    found = Accuracy(bare, wanted.float(), Task("multilabel")).of(noisy)
    oracle = [average_precision_score(wanted[:, :4], scores[:, :4], average="macro") for scores in (bare, noisy)]
    assert found["accuracy"].value == pytest.approx(oracle[1])
    assert found["accuracy_drop"].value == pytest.approx(oracle[0] - oracle[1])
    assert found["accuracy_drop"].method.startswith("mean average precision against true labels on 60 samples; paired")


def test_decisions_that_are_lost_count_whether_they_were_yes_or_no() -> None:
    bare = torch.rand(80, 3, generator=GENERATOR)
    noisy = (bare + 0.3 * normal(80, 3)).clamp(0, 1)
    found = Accuracy(bare, None, Task("multilabel")).of(noisy)
    oracle = [balanced_accuracy_score(bare[:, c] > 0.5, noisy[:, c] > 0.5) for c in range(3)]
    assert found["accuracy"].value == pytest.approx(sum(oracle) / 3)
    assert found["accuracy_drop"].value == pytest.approx(1 - sum(oracle) / 3)
    assert found["accuracy_drop"].low < found["accuracy_drop"].value < found["accuracy_drop"].high


@pytest.mark.parametrize("shape", [(), (1,), (2,)])
def test_one_score_a_sample_is_judged_by_roc_auc(shape: tuple[int, ...]) -> None:
    labels = torch.arange(70) % 3 == 0
    bare, noisy = (labels.float() + s * normal(70) for s in (0.5, 3.0))
    if shape:
        bare, noisy = (torch.stack([-t, t], 1)[:, -shape[0] :] for t in (bare, noisy))
    found = Accuracy(bare, labels.long(), Task("ranking")).of(noisy)
    flat = [t if t.dim() == 1 else t[:, -1] for t in (bare, noisy)]
    oracle = [roc_auc_score(labels, t) for t in flat]
    assert found["accuracy"].value == pytest.approx(oracle[1])
    assert found["accuracy_drop"].value == pytest.approx(oracle[0] - oracle[1])


def test_numbers_are_held_against_true_ones() -> None:
    truth = normal(50, 3)
    bare, noisy = truth + 0.1 * normal(50, 3), truth + normal(50, 3)
    found = Accuracy(bare, truth, Task("regression")).of(noisy)
    oracle = [r2_score(truth, t, multioutput="variance_weighted") for t in (bare, noisy)]
    assert found["accuracy"].value == pytest.approx(oracle[1], abs=1e-6)
    assert found["accuracy_drop"].value == pytest.approx(oracle[0] - oracle[1], abs=1e-6)
    assert found["accuracy"].low < found["accuracy"].value < found["accuracy"].high


@pytest.mark.parametrize("axis", [1, -1])
def test_maps_are_judged_by_pixel_accuracy_where_there_are_labels(axis: int) -> None:
    labels = torch.randint(0, 3, (10, 4, 5), generator=GENERATOR)
    labels[0], labels[1, 0] = 255, -1  # no label there
    bare, noisy = (torch.randn(10, 3, 4, 5, generator=GENERATOR).movedim(1, axis) for _ in range(2))
    found = Accuracy(bare, labels, Task("dense", axis=axis)).of(noisy)
    valid = (labels >= 0) & (labels < 3)
    oracle = [accuracy_score(labels[valid], t.argmax(axis)[valid]) for t in (bare, noisy)]
    assert found["accuracy"].value == pytest.approx(oracle[1])
    assert found["accuracy_drop"].value == pytest.approx(oracle[0] - oracle[1])


def test_a_mask_of_one_channel_is_decided_by_its_sign() -> None:
    labels = torch.randint(0, 2, (10, 4, 5), generator=GENERATOR)
    bare = normal(10, 1, 4, 5)
    found = Accuracy(bare, labels, Task("dense", axis=0)).undefended()["accuracy"]
    assert found.value == pytest.approx(accuracy_score(labels.flatten(), (bare > 0).flatten()))


def test_what_no_label_tells_is_said() -> None:
    found = Accuracy(normal(20, 3), torch.ones(20, 3), Task("multilabel")).undefended()
    assert math.isnan(found["accuracy"].value)
    assert found["accuracy"].method == "no label is both present and absent among the samples"


# ---- weighted measures and the bootstrap -----------------------------------------------------------------------------


def test_weighted_measures_match_scikit_learn_with_ties() -> None:
    wanted, scores = torch.rand(40, 3, generator=GENERATOR) < 0.4, normal(40, 3).mul(2).round()
    weights = counts(40)[:5]
    for row, w in enumerate(weights):
        ap = [average_precision_score(wanted[:, c], scores[:, c], sample_weight=w) for c in range(3)]
        assert float(average_precision(scores, wanted, weights)[row]) == pytest.approx(sum(ap) / 3)
        auc = roc_auc_score(wanted[:, 0], scores[:, 0], sample_weight=w)
        assert float(roc_auc(scores[:, 0], wanted[:, 0], weights)[row]) == pytest.approx(auc)
        kept = [balanced_accuracy_score(wanted[:, c], scores[:, c] > 0, sample_weight=w) for c in range(3)]
        assert float(balanced_agreement(scores > 0, wanted, weights)[row]) == pytest.approx(sum(kept) / 3)


def test_the_bootstrap_of_a_mean_has_its_closed_form() -> None:
    x = normal(400).double()
    found = statistic(lambda weights: weights @ x / weights.sum(1), 400, "mean")
    assert found.value == pytest.approx(float(x.mean()))
    assert found.stderr == pytest.approx(float(x.std()) / 20, rel=0.15)
    assert found.high - found.low == pytest.approx(2 * 1.645 * found.stderr, rel=0.15)


def test_a_paired_difference_keeps_what_both_share() -> None:
    x = 5 * normal(200).double()
    y = x - 0.2
    apart = difference(lambda w: w @ x / w.sum(1), lambda w: w @ y / w.sum(1), 200, "drop")
    assert apart.value == pytest.approx(0.2)
    assert apart.stderr < 1e-6
