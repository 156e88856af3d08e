from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advisor.cut_view import CutView
from advisor.defenses import GaussianNoise
from advisor.derivatives.tangents import TangentEnergy, tangent_energies
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.fisher import (
    PRIOR_SMOOTHING,
    Fisher,
    cramer_rao_bound,
    dfil,
    fisher_information,
    signal_normalised,
    van_trees_bound,
)
from advisor.testing.made_up_views import normal, view_of
from advisor.tracing.tracer import trace
from tests.estimators.nets import Curved


def with_energy(view: CutView, energy: TangentEnergy | None) -> CutView:
    return CutView(view.cut, view.tensors, view.targets, view.wire_step, view.seed, energy)


def energy(values: Tensor, signal: Tensor | None = None, elements: int = 2, problem: str = "") -> TangentEnergy:
    return TangentEnergy(
        values.double(), torch.ones(values.shape[1]).double() if signal is None else signal, elements, problem
    )


def exact_trace(model: nn.Module, x: Tensor) -> float:
    """Mean over samples of Tr(JᵀJ)/d by the whole Jacobian."""
    jacobians = torch.func.vmap(torch.func.jacrev(model))(x)
    return float(jacobians.detach().square().sum((1, 2)).mean()) / x.shape[1]


def test_a_linear_model_has_the_closed_form_at_every_cut() -> None:
    """Tr(WᵀW)/d whatever the input; at the raw input it is 1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 4)).eval()
    x = normal(3000, 6).float()
    graph = trace(model, x[:2])
    found = tangent_energies(graph, [x], 4, 0)
    first, second = model[0].weight.detach(), model[1].weight.detach()
    closed = [1.0, float(first.square().sum()) / 6, float((second @ first).square().sum()) / 6]
    for cut, expected in zip(graph.cuts, closed, strict=True):
        estimate = fisher_information(found[cut.index])
        assert estimate.value == pytest.approx(expected, rel=0.05)
        assert abs(estimate.value - expected) <= 4 * estimate.stderr + 1e-6


def test_probes_converge_on_the_exact_jacobian_at_the_rate_of_one_over_root() -> None:
    model, x = Curved().eval(), normal(20, 6).float()
    graph = trace(model, x[:2])
    exact, last = exact_trace(model, x), len(graph.cuts) - 1

    def spread(probes: int) -> float:
        """Root mean square error over 30 repetitions, relative."""
        found = [fisher_information(tangent_energies(graph, [x], probes, s)[last]).value for s in range(30)]
        return float(np.sqrt(np.mean((np.array(found) / exact - 1) ** 2)))

    few, many = spread(2), spread(32)
    assert many < 0.05
    assert few / many == pytest.approx(4, rel=0.4)


def test_standard_error_is_that_over_samples() -> None:
    found = fisher_information(energy(torch.tensor([[2.0, 4.0, 6.0, 8.0], [4.0, 4.0, 6.0, 12.0]])))
    samples = np.array([1.5, 2.0, 3.0, 5.0])
    assert found.value == pytest.approx(samples.mean())
    assert found.stderr == pytest.approx(samples.std(ddof=1) / 2)
    assert found.unit == "z²/x²"


def test_scale_of_z_leaves_the_signal_normalised_form() -> None:
    x = normal(40, 6).float()
    torch.manual_seed(0)
    layer = nn.Linear(6, 5, bias=False)
    louder = nn.Linear(6, 5, bias=False)
    louder.weight.data = 7 * layer.weight.data
    found = [tangent_energies(trace(m, x[:2]), [x], 4, 0)[1] for m in (layer, louder)]
    quiet, loud = (fisher_information(f).value for f in found)
    assert loud == pytest.approx(49 * quiet, rel=1e-5)
    quiet, loud = (signal_normalised(f).value for f in found)
    assert loud == pytest.approx(quiet, rel=1e-5)
    z = layer(x).detach()
    share = float((found[0].energy.mean(0) / z.double().square().sum(1)).mean())
    assert quiet == pytest.approx(share, rel=1e-5)


def test_samples_without_signal_are_left_out_and_none_left_is_said() -> None:
    values = torch.tensor([[2.0, 6.0]])
    assert signal_normalised(energy(values, torch.tensor([0.0, 3.0]).double())).value == 2
    missing = signal_normalised(energy(values, torch.zeros(2).double()))
    assert math.isnan(missing.value)
    assert "zero for every sample" in missing.method


@pytest.mark.parametrize("wanted", [0.5, 20.0])
def test_noise_for_a_wanted_leakage_gives_it(wanted: float) -> None:
    """dFIL = Tr(JᵀJ)/(d σ²) (Maeng et al. 2022), and 1/dFIL is the unbiased attacker's error with a linear map."""
    W = normal(8, 5)
    fisher = float(W.square().sum()) / 5
    sigma = GaussianNoise.for_dfil(fisher, wanted).sigma
    assert dfil(Estimate.exact(fisher), sigma**2).value == pytest.approx(wanted)
    unbiased = sigma**2 * float(torch.linalg.inv(W.T @ W).trace()) / 5
    assert unbiased >= 1 / wanted * (1 - 1e-9)


def test_leakage_at_a_noise_keeps_its_interval_and_has_no_end_without_noise() -> None:
    found = dfil(Estimate(4.0, 0.5, 3.0, 5.0), 2.0)
    assert (found.low, found.value, found.high, found.unit) == (1.5, 2.0, 2.5, "1/x²")
    assert dfil(Estimate.exact(4.0), 0.0).value == math.inf
    assert dfil(Estimate.exact(0.0), 0.0).value == 0


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("prior", [0.3, 1.0])
def test_van_trees_is_below_the_exact_mmse_and_meets_it_where_the_map_is_isotropic(sigma: float, prior: float) -> None:
    """x ~ N(0, s²I) holds Tr(S)/d = 1/s²; the best attacker of z = Wx + σn is left with Tr((WᵀW/σ² + I/s²)⁻¹)/d."""

    def exact(W: Tensor) -> float:
        return float(torch.linalg.inv(W.T @ W / sigma**2 + torch.eye(5).double() / prior**2).trace()) / 5

    def bound(W: Tensor) -> float:
        return van_trees_bound(Estimate.exact(float(W.square().sum()) / 5), sigma**2, 1 / prior**2).value

    uneven = normal(8, 5) * torch.tensor([3.0, 1, 1, 0.3, 0.01])
    even = 2 * torch.linalg.qr(normal(8, 5))[0]
    assert bound(uneven) < exact(uneven)
    assert bound(even) == pytest.approx(exact(even), rel=1e-9)


def test_without_noise_there_is_no_guarantee() -> None:
    assert van_trees_bound(Estimate.exact(3.0), 0.0, 1.0).value == 0


def test_bound_falls_as_fisher_information_rises_and_its_interval_turns_round() -> None:
    found = van_trees_bound(Estimate(4.0, 0.5, 3.0, 5.0), 2.0, 0.5)
    assert (found.low, found.value, found.high) == pytest.approx((1 / 3, 1 / 2.5, 1 / 2))


def test_columns_of_a_cut_agree_with_the_functions() -> None:
    view = with_energy(view_of(normal(3, 4).float()), energy(torch.tensor([[2.0, 4.0, 6.0]])))
    found = Fisher().at(view)
    assert found["fisher"].value == 2
    assert found["mse_bound"].value == pytest.approx(1 / (2 / (1e-6 / 12) + 1 / PRIOR_SMOOTHING**2))
    assert set(found) == {spec.name for spec in Fisher.columns}


@pytest.mark.parametrize(
    ("tangents", "reason"),
    [
        (None, "discrete"),
        (energy(torch.ones(1, 3), problem="aten.sort has no derivative"), "aten.sort"),
        (energy(torch.tensor([[1.0, math.nan, 2.0]])), "NaN"),
    ],
)
def test_what_has_no_derivative_is_said(tangents: TangentEnergy | None, reason: str) -> None:
    with pytest.raises(NotMeasurableError, match=reason):
        Fisher().at(with_energy(view_of(normal(3, 4).float()), tangents))


def test_nan_in_what_crosses_is_said_even_where_its_derivative_is_finite() -> None:
    class Logarithm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x)

    x = -normal(5, 6).abs()
    found = tangent_energies(trace(Logarithm(), x[:2]), (x,), 2, 0)[1]
    assert torch.isfinite(found.energy).all()
    with pytest.raises(NotMeasurableError, match="activation holds NaN"):
        Fisher().at(with_energy(view_of(normal(5, 4).float()), found))


@pytest.mark.parametrize("probes", [1, 4, 16, 64])
def test_error_of_the_probes_is_their_closed_form(probes: int) -> None:
    """Var ‖Jv‖² = 2 Σ_{i≠j} A_ij², A = JᵀJ, for Rademacher v (Hutchinson 1990); k probes divide it by k."""
    layer, x = nn.Linear(6, 4, bias=False).double(), normal(1500, 6)
    layer.weight.data = normal(4, 6, seed=1)
    square = layer.weight.detach().T @ layer.weight.detach()
    spread = math.sqrt(2 * float((square - square.diag().diag()).square().sum()))
    found = tangent_energies(trace(layer, x[:2]), (x,), probes, 0)[1]
    error = float((found.energy.mean(0) - square.trace()).square().mean().sqrt())
    assert error == pytest.approx(spread / math.sqrt(probes), rel=0.1)


@pytest.mark.parametrize("isotropic", [True, False])
def test_least_squares_reaches_cramer_rao_where_the_map_is_isotropic(isotropic: bool) -> None:
    """z = Wx + noise: the unbiased attacker's error is σ² Tr((WᵀW)⁻¹)/d, never below σ² d / Tr(WᵀW)."""
    weight, sigma = normal(12, 5, seed=1), 0.3
    weight = 2 * torch.linalg.qr(weight)[0] if isotropic else weight
    exact = sigma**2 * float(torch.linalg.inv(weight.T @ weight).trace()) / 5
    bound = cramer_rao_bound(Estimate.exact(float(weight.square().sum()) / 5), sigma**2).value
    assert bound <= exact * (1 + 1e-12)
    assert (bound == pytest.approx(exact)) is isotropic
    x = normal(4000, 5, seed=2)
    z = x @ weight.T + sigma * normal(4000, 12, seed=3)
    found = z @ torch.linalg.pinv(weight).T
    assert float((found - x).square().mean()) == pytest.approx(exact, rel=0.05)


def test_cramer_rao_at_its_ends() -> None:
    assert cramer_rao_bound(Estimate.exact(0.0), 0.1).value == math.inf
    assert cramer_rao_bound(Estimate.exact(2.0), 0.0).value == 0


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_nan_guarantees_nothing(noise: float) -> None:
    unknown = Estimate(math.nan)
    assert math.isnan(dfil(unknown, noise).value)
    assert math.isnan(cramer_rao_bound(unknown, noise).value)
    assert not van_trees_bound(unknown, noise, 100.0).value > 0
