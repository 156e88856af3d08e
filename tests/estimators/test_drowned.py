"""What a far larger channel, or what all elements share, drowned in float32 is read; the rest stays as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from advisor.estimators.linear import KernelInversion, LinearInversion
from advisor.measures.drowned import standard_gram
from advisor.measures.linear_filter import wiener
from advisor.testing.made_up_views import normal, view_of

X = normal(200, 6)
Z = X @ normal(6, 12, seed=1)


def one_larger(z: Tensor) -> Tensor:
    return torch.cat([z[:, :1] * 1e6, z[:, 1:]], 1)


def one_left(z: Tensor) -> Tensor:
    return torch.cat([z[:, :1], z[:, 1:] * 1e-6], 1)


def shared(z: Tensor) -> Tensor:
    return z + 1e4 * z.sum(1, keepdim=True)


@pytest.mark.parametrize("drown", [one_larger, one_left, shared])
def test_linear_inversion_reads_what_was_drowned(drown: Callable[[Tensor], Tensor]) -> None:
    z = drown(Z)
    assert LinearInversion().at(view_of(z, pixels=X))["linear_nmse"].value < 1e-3
    found = wiener(z[:120], z[120:160], z[160:], X[:120], X[120:160])
    assert float((found - X[160:]).square().mean() / X[160:].square().mean()) < 1e-3


@pytest.mark.parametrize("drown", [one_larger, one_left])
def test_kernel_inversion_reads_beside_a_larger_channel(drown: Callable[[Tensor], Tensor]) -> None:
    plain = KernelInversion().at(view_of(Z, pixels=X))["kernel_nmse"].value
    assert KernelInversion().at(view_of(drown(Z), pixels=X))["kernel_nmse"].value < plain + 0.05


def test_ordinary_activations_keep_their_plain_products() -> None:
    full = normal(200, 12, seed=3)
    assert standard_gram(view_of(full, pixels=X)) is None
    assert standard_gram(view_of(torch.cat([full, torch.zeros(200, 8)], 1), pixels=X)) is None


def test_few_directions_alone_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standardised products are taken, as there may be more, and are not better."""
    noisy = X[:, :3] + 0.5 * normal(200, 3, seed=4)
    view = view_of(noisy @ normal(3, 12, seed=5), pixels=X)
    assert standard_gram(view) is not None
    found = LinearInversion().at(view)["linear_nmse"].value
    monkeypatch.setattr("advisor.estimators.linear.standard_kernel", lambda view: None)
    assert LinearInversion().at(view_of(view.z, pixels=X))["linear_nmse"].value == found
