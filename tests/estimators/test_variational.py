from __future__ import annotations

import math

import pytest
import torch

from advisor.estimators.variational import Variational
from advisor.measures.information import _FLOOR, residual_entropy
from advisor.testing.made_up_views import normal, view_of


def entropy(covariance: torch.Tensor) -> float:
    return float(0.5 * torch.logdet(2 * math.pi * math.e * covariance)) / len(covariance)


def test_gaussian_errors_in_their_own_axes_have_their_entropy() -> None:
    spread = torch.tensor([0.5, 1.0, 2.0]).double()
    value, error = residual_entropy(normal(20000, 3) * spread, torch.eye(3).double())
    assert abs(value - entropy(spread.square().diag())) < 4 * error


def test_other_axes_and_fewer_of_them_only_raise_it() -> None:
    spread = torch.tensor([0.1, 1.0, 3.0, 3.0]).double()
    errors = normal(5000, 4) * spread
    own = residual_entropy(errors, torch.eye(4).double())[0]
    turned = residual_entropy(errors, torch.linalg.qr(normal(4, 4, seed=2))[0])[0]
    fewer = [residual_entropy(errors, torch.eye(4).double()[:, :k])[0] for k in (0, 1, 2)]
    assert own < turned
    assert fewer[0] > fewer[1] > own
    assert fewer[2] == pytest.approx(own, abs=1e-3)  # the last two are alike


@pytest.mark.slow
def test_a_linear_gaussian_model_reaches_the_exact_conditional_entropy() -> None:
    """x ~ N(0, I), z = x + N(0, σ²): H(x|z) = ½ ln(2πe σ²/(1 + σ²)) an element."""
    x = normal(4000, 4).float()
    z = x + 0.5 * normal(4000, 4, seed=1).float()
    found = Variational().at(view_of(z, pixels=x))["decoder_entropy"]
    exact = 0.5 * math.log(2 * math.pi * math.e * 0.25 / 1.25)
    assert abs(found.value - exact) < 4 * found.stderr + 0.01
    assert found.high > exact


def test_a_perfect_decoder_stops_at_the_rounding_of_pictures() -> None:
    x = normal(300, 4).float()
    found = Variational().at(view_of(x, pixels=x))["decoder_entropy"]
    assert found.value == pytest.approx(0.5 * math.log(2 * math.pi * _FLOOR), abs=0.6)
