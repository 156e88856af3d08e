from __future__ import annotations

import torch
from torch import Tensor, nn

from advisor.estimators.attacks.rmle import RegularisedMaximumLikelihood
from advisor.estimators.attacks.runner import attack
from advisor.estimators.attacks.support.matching import Descent
from advisor.estimators.attacks.support.whitening import FLOOR, Whitened, Whitening, whitenings_of
from advisor.testing.made_up_views import normal
from advisor.tracing.tracer import trace


def test_what_is_white_has_unit_covariance_up_to_floor_and_noise() -> None:
    values = torch.tensor([100.0, 1.0, 0.01]).double()
    turn = torch.linalg.qr(normal(3, 3, seed=1))[0]
    z = (2 + normal(20_000, 3) * values.sqrt() @ turn.T).float()
    fit = Whitening.fitted(z, 0.5)
    assert fit is not None
    white = fit(z).double()
    exact = turn @ torch.diag(values / (values + 0.5 + FLOOR * values.mean())) @ turn.T
    assert torch.allclose(torch.cov(white.T), exact, atol=0.03)
    assert white.mean(0).abs().max() < 1e-3


def test_maps_are_whitened_place_by_place_over_channels() -> None:
    z = normal(5, 3, 4, 4).float()
    fit = Whitening.fitted(z, 0.0)
    assert fit is not None
    rows = z.permute(0, 2, 3, 1).reshape(-1, 3)
    assert torch.allclose(fit(z).permute(0, 2, 3, 1).reshape(-1, 3), fit(rows), atol=1e-5)


def test_constants_and_few_rows_are_not_whitened() -> None:
    assert Whitening.fitted(torch.ones(9, 4), 0.0) is None
    assert Whitening.fitted(torch.rand(15, 4), 0.0) is None
    assert Whitening.fitted(torch.rand(16, 4), 0.0) is not None
    assert Whitening.fitted(torch.rand(4, 3000), 0.0) is None
    assert whitenings_of((torch.rand(9, 4), torch.ones(9, 4)), (0.0, 0.0)) is None


def test_an_edge_that_sends_white_tensors_sends_those_of_the_edge() -> None:
    edge, x = nn.Linear(4, 6), normal(30, 4).float()
    (fit,) = whitenings_of((edge(x).detach(),), (0.0,)) or ()
    assert torch.equal(Whitened(edge, (fit,))(x)[0], fit(edge(x)))


class Steep(nn.Module):
    """An invertible layer, a few directions of which carry almost all energy."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 16, bias=False), nn.Linear(16, 2)
        left, right = (torch.linalg.qr(normal(16, 16, seed=s))[0].float() for s in (1, 2))
        self.first.weight.data = left @ torch.diag(torch.logspace(0.5, -1.5, 16)) @ right.T

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_descent_on_white_features_reaches_what_plain_descent_does_not() -> None:
    x, how = normal(100, 16).float(), (Descent(60, 0.1),) * 2
    graph = trace(Steep().eval(), x[:2])
    plain, white = (
        attack(graph, "first", x, name=RegularisedMaximumLikelihood((0.0,), how, white=w)) for w in ((), (0.0,))
    )
    assert (plain.evidence["whitened"], white.evidence["whitened"]) == (0, 1)
    assert white.nmse.value < 0.5 * plain.nmse.value
