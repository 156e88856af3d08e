from __future__ import annotations

import pytest
import torch
from torch import nn

from advisor.estimators.inversion import fast_products as precision
from advisor.estimators.inversion.fast_products import Fast
from advisor.testing.made_up_views import normal


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("shape", [(6, 4, 8, 8), (6, 12)])
def test_fast_products_are_those_of_the_network_within_one_percent(
    native: bool, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: native)
    torch.manual_seed(0)
    first = nn.Conv2d(4, 16, 3, padding=1) if len(shape) == 4 else nn.Linear(12, 16)
    last = nn.Conv2d(16, 3, 3, padding=1) if len(shape) == 4 else nn.Linear(16, 3)
    network, x = nn.Sequential(first, nn.GELU(), last), normal(*shape).float()
    exact = network(x)
    fast = Fast(network)
    found = fast(x)
    assert found.dtype == torch.float32
    off = float((found - exact).norm() / exact.norm())
    assert off < 0.01
    assert (off > 1e-5) == native
    found.square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())
    assert torch.equal(Fast(network, fast=False)(x), network(x))


def test_the_answer_about_this_processor_is_one_of_two_and_stays() -> None:
    assert precision.multiplies_bfloat16() in (True, False)
    assert precision.multiplies_bfloat16() == precision.multiplies_bfloat16()
