"""The local adversary against its slow definition; what a convolution reads it reads, what is noise it does not."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn import functional as F

from advisor.measures.local_ridge import (
    local_features,
    local_nmse,
    local_targets,
    random_filters,
    ridge_leave_one_out,
)

NONE = torch.zeros(0, 2, 3, 3, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("penalty", [1e-3, 0.5])
def test_leave_one_out_is_what_as_many_regressions_leave(penalty: float) -> None:
    """scikit-learn's ridge, fitted anew without each row."""
    features, targets = normal(30, 4), normal(30, 2, seed=1)
    scale = penalty * float(features.square().sum(0).mean())
    rows = []
    for i in range(30):
        others = [j for j in range(30) if j != i]
        regression = Ridge(alpha=scale, fit_intercept=False).fit(features[others].numpy(), targets[others].numpy())
        rows.append(targets[i] - torch.from_numpy(regression.predict(features[i : i + 1].numpy())[0]))
    assert torch.allclose(ridge_leave_one_out(features, targets, penalty), torch.stack(rows), atol=1e-9)


def test_a_place_reads_what_lies_around_it_and_wants_what_lies_under_it() -> None:
    sent, inputs = normal(3, 2, 4, 5), normal(3, 1, 8, 10, seed=1)
    features, targets = local_features(sent, NONE), local_targets(inputs, 4, 5)
    assert features.shape == (3, 20, 2 * 9 + 2)
    assert targets.shape == (3, 20, 4)
    place = 2 * 5 + 3
    assert torch.equal(targets[1, place], inputs[1, 0, 4:6, 6:8].flatten())
    scaled = sent - sent.mean((0, 2, 3), keepdim=True)
    scaled = scaled / scaled.square().mean().sqrt()
    assert torch.allclose(features[1, place, :9], scaled[1, 0, 1:4, 2:5].flatten())
    assert local_targets(inputs, 8, 10).shape == (3, 80, 1)


def test_what_a_convolution_undoes_is_recovered_from_few_maps_and_noise_is_not() -> None:
    inputs = normal(12, 1, 16, 16)
    sent = F.conv2d(inputs, normal(6, 1, 2, 2, seed=2), stride=2)
    assert float(local_nmse(sent, inputs, NONE[:, :1])) < 0.01
    assert float(local_nmse(normal(12, 6, 8, 8, seed=3), inputs, NONE[:, :1])) > 0.95


def test_random_features_see_what_a_linear_map_does_not() -> None:
    inputs = normal(40, 1, 16, 16)
    pooled = 4 * F.avg_pool2d(inputs, 2)
    sent = torch.cat([pooled.cos(), pooled.sin()], 1)
    wanted = F.interpolate((2 * pooled).cos(), scale_factor=2.0)
    straight, curved = (float(local_nmse(sent, wanted, random_filters(2, count))) for count in (0, 64))
    assert curved < 0.8 * straight


def test_gradients_are_those_of_finite_differences() -> None:
    inputs = normal(3, 1, 8, 8)
    sent = normal(3, 2, 4, 4, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: local_nmse(z, inputs, NONE[:, :1], penalty=0.1), (sent,))


def test_some_places_tell_about_as_much_as_all() -> None:
    inputs = normal(60, 1, 16, 16)
    sent = F.conv2d(inputs, normal(2, 1, 2, 2, seed=2), stride=2) + 0.5 * normal(60, 2, 8, 8, seed=5)
    rows = torch.randperm(60 * 64, generator=torch.Generator().manual_seed(0))[:1500]
    all_places, some = (float(local_nmse(sent, inputs, NONE[:, :1], rows=r)) for r in (None, rows))
    assert some == pytest.approx(all_places, rel=0.1)
