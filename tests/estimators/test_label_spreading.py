from __future__ import annotations

import pytest
import torch
from sklearn.datasets import make_moons
from sklearn.semi_supervised import LabelSpreading

from advisor.errors import NotMeasurableError
from advisor.estimators.label_spreading import FEW, FewLabels, few_of_each, neighbour_graph, spread_labels
from advisor.testing.made_up_views import gram_of, normal, view_of


def test_spreading_is_scikit_learn_s() -> None:
    z = normal(60, 3)
    affinity = neighbour_graph(gram_of(z), 6)
    labels = torch.full((60,), -1)
    labels[:9] = torch.arange(9) % 3
    beliefs = torch.zeros(60, 3).double()
    beliefs[torch.arange(9), labels[:9]] = 1
    found = spread_labels(affinity, beliefs, 0.7)
    reference = LabelSpreading(kernel=lambda a, b: affinity.numpy(), alpha=0.7, max_iter=500, tol=1e-10)
    reference.fit(z.numpy(), labels.numpy())
    rows = found / found.sum(1, keepdim=True)
    torch.testing.assert_close(rows, torch.from_numpy(reference.label_distributions_), atol=1e-6, rtol=1e-5)


def test_a_few_labels_tell_two_moons_apart() -> None:
    z, y = make_moons(400, noise=0.05, random_state=0)
    found = FewLabels().at(view_of(torch.from_numpy(z).float(), torch.from_numpy(y)))["label_leak_few"]
    assert found.value > 0.97
    assert f"{2 * FEW} labels" in found.method


def test_noise_tells_nothing() -> None:
    labels = torch.arange(1000) % 10
    found = FewLabels().at(view_of(normal(1000, 8).float(), labels))["label_leak_few"]
    assert found.low < 0.1 < found.high or found.value < 0.15


def test_only_train_labels_are_used() -> None:
    labels = torch.arange(100) % 4
    known = few_of_each(labels, torch.arange(75), 0)
    assert int(known.max()) < 75
    assert torch.bincount(labels[known]).tolist() == [FEW] * 4
    view = view_of(3 * normal(4, 6)[labels].float() + normal(100, 6, seed=1).float(), labels)
    before = FewLabels().at(view)["label_leak_few"].value
    assert before > 0.6


def test_one_class_is_refused() -> None:
    with pytest.raises(NotMeasurableError, match="one class"):
        FewLabels().at(view_of(normal(30, 3)))
