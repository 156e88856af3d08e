from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advisor.batches import carried
from advisor.cut_view import CutView
from advisor.derivatives.jacobian_grams import JacobianGram, jacobian_grams, leading_directions
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.fisher import van_trees_bound
from advisor.estimators.inversion.alignment import QUICK, invert
from advisor.estimators.linear import kernel_weights, linear_weights, reconstructions
from advisor.estimators.spectrum import Spectrum, fisher_information_nats, guaranteed, spectrum_bound
from advisor.estimators.study.study_samples import targets_for
from advisor.testing.made_up_views import normal, view_of
from advisor.tracing.tracer import trace
from tests.estimators.nets import Curved, digits, trained

S = 0.1


def linear(rows: int = 5, columns: int = 8) -> Tensor:
    return normal(rows, columns, seed=3)


def grams_of(weight: Tensor, k: int, samples: int = 6, smoothing: float = S) -> JacobianGram:
    """What the forward pass finds for z = Wx along the first k coordinates."""
    inner, d = weight.T @ weight, weight.shape[1]
    gram = inner[:k, :k].expand(samples, k, k)
    return JacobianGram(gram, inner.diagonal().sum().expand(samples), torch.ones(k).double(), d, smoothing)


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 3.0])
def test_a_gaussian_input_and_a_linear_model_reach_the_bound(sigma: float) -> None:
    """x ~ N(0, s²I), z = Wx + N(0, σ²I): the exact error of the best estimator, Tr((WᵀW/σ² + I/s²)⁻¹)/d."""
    weight = linear()
    exact = torch.linalg.inv(weight.T @ weight / sigma**2 + torch.eye(8).double() / S**2).trace() / 8
    found = spectrum_bound(grams_of(weight, 8), sigma**2)
    assert found.value == pytest.approx(float(exact), rel=1e-6)
    assert found.source == "bounded"


@pytest.mark.parametrize("sigma", [1e-5, 1e-7, 1e-9, 1e-12])
def test_at_rounding_alone_nothing_is_promised_that_does_not_hold(sigma: float) -> None:
    """Five numbers of eight inputs: three directions are unseen, each s², and no estimator is left with more."""
    found, most = grams_of(linear(), 8), 3 / 8 * S**2 * (1 + 1e-6)
    assert 0 < spectrum_bound(found, sigma**2).value <= most
    assert 0 < guaranteed(found, sigma**2) <= most


def test_no_directions_are_the_trace_bound_and_more_never_lower_it() -> None:
    weight, sigma = linear(), 0.05
    values = [spectrum_bound(grams_of(weight, k), sigma**2).value for k in range(9)]
    fisher = Estimate.exact(float(weight.square().sum()) / 8)
    assert values[0] == pytest.approx(van_trees_bound(fisher, sigma**2, 1 / S**2).value)
    assert all(b >= a - 1e-15 for a, b in itertools.pairwise(values))
    assert values[8] > 1.5 * values[0]  # five outputs of eight inputs: a steep spectrum


def test_an_isotropic_map_gains_nothing_from_its_spectrum() -> None:
    weight = 2 * torch.eye(8).double()
    assert spectrum_bound(grams_of(weight, 5), 0.01).value == pytest.approx(1 / (4 / 0.01 + 1 / S**2))


@pytest.mark.parametrize("sigma", [0.02, 0.2, 1.0])
def test_a_bimodal_prior_does_not_beat_it(sigma: float) -> None:
    """x at ±1 smoothed by N(0, s²), z = x + N(0, σ²): Bayes by numerical integration, never below the bound."""
    x, z = np.linspace(-2, 2, 2001), np.linspace(-6, 6, 3001)
    prior = sum(np.exp(-((x - m) ** 2) / (2 * S**2)) for m in (-1, 1))
    joint = prior[:, None] * np.exp(-((z - x[:, None]) ** 2) / (2 * sigma**2))
    best = (x[:, None] * joint).sum(0) / np.maximum(joint.sum(0), 1e-300)
    bayes = float((joint * (x[:, None] - best) ** 2).sum() / joint.sum())
    bound = spectrum_bound(grams_of(torch.eye(1).double(), 1), sigma**2).value
    assert 0 < bound <= bayes * (1 + 1e-6)


def test_information_is_that_of_gaussians() -> None:
    """I(x; z) = ½ ln det(I + ΛWᵀW/σ²) for x ~ N(0, Λ)."""
    weight, spread = linear(), torch.linspace(0.1, 2, 8).double()
    tangents = dataclasses.replace(grams_of(weight, 8), prior=spread)
    exact = 0.5 * torch.logdet(torch.eye(5).double() + weight @ spread.diag() @ weight.T / 0.04)
    assert fisher_information_nats(tangents, 0.04).value == pytest.approx(float(exact))
    assert fisher_information_nats(grams_of(0 * weight, 8), 0.04).value == 0


def test_the_walk_has_the_jacobian_s_inner_products() -> None:
    model, x = Curved().eval(), normal(40, 6).float()
    graph = trace(model, x[:2])
    found = jacobian_grams(graph, [x], 7, 3, 0.0, 0)[len(graph.cuts) - 1]
    (basis,), prior = leading_directions([x], 3)
    assert basis is not None
    torch.testing.assert_close(basis @ basis.T, torch.eye(3), atol=1e-5, rtol=0)
    assert prior.tolist() == pytest.approx(np.linalg.eigvalsh(np.cov(x.numpy().T))[::-1][:3], rel=1e-5)
    jacobian = torch.func.vmap(torch.func.jacrev(model))(x[:7]).detach() @ basis.T
    torch.testing.assert_close(found.gram.float(), jacobian.transpose(1, 2) @ jacobian, atol=1e-5, rtol=1e-4)
    assert found.elements == 6


def test_all_directions_leave_nothing_to_probes() -> None:
    """With V of the input's own size the pass has the whole of JᵀJ: its spectrum, and its trace without error."""
    model, x = Curved().eval(), normal(40, 6).float()
    graph = trace(model, x[:2])
    found = jacobian_grams(graph, [x], 7, None, 0.0, 0)[len(graph.cuts) - 1]
    jacobian = torch.func.vmap(torch.func.jacrev(model))(x[:7]).detach().double()
    whole = jacobian.transpose(1, 2) @ jacobian
    assert found.gram.shape == (7, 6, 6)
    torch.testing.assert_close(torch.linalg.eigvalsh(found.gram), torch.linalg.eigvalsh(whole), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found.trace, whole.diagonal(dim1=1, dim2=2).sum(1), atol=1e-6, rtol=1e-5)
    assert found.prior.tolist() == pytest.approx(np.linalg.eigvalsh(np.cov(x.numpy().T))[::-1], rel=1e-5)


def test_few_samples_still_give_every_direction() -> None:
    (basis,), prior = leading_directions([normal(3, 6).float()], 0, whole=True)
    assert basis is not None
    torch.testing.assert_close(basis @ basis.T, torch.eye(6), atol=1e-5, rtol=0)
    assert (prior[2:].abs() < 1e-9).all()  # three samples span two


@pytest.mark.slow
def test_the_whole_spectrum_from_few_samples_stays_below_that_from_many() -> None:
    """On digits, d = 64: the guarantee by 64 Jacobians against the bound by 400, and it is no worse than k = 16."""
    x, _ = digits(464)
    graph = trace(trained(), x[:2])
    many = jacobian_grams(graph, [x], 400, None, S, 5)
    few = jacobian_grams(graph, [x[-64:]], 64, None, S, 0)
    part = jacobian_grams(graph, [x[-64:]], 16, 16, S, 0)
    for index in range(1, len(graph.cuts)):
        for sigma in (0.02, 0.3):
            found = spectrum_bound(few[index], sigma**2)
            assert found.low <= spectrum_bound(many[index], sigma**2).value * (1 + 1e-6)
            assert found.low >= 0.95 * spectrum_bound(part[index], sigma**2).low


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_the_guarantee_is_seldom_above_the_exact_bound(whole: bool) -> None:
    """400 digits at a trained network as population, their whole Jacobians; 64 of them in each of 80 draws."""
    x, _ = digits(400)
    graph = trace(nn.Sequential(trained(), nn.Softmax(1)).eval(), x[:2])
    everything = jacobian_grams(graph, [x], len(x), None, S, 1)
    k, generator, above = 64 if whole else 16, torch.Generator().manual_seed(0), []
    for index in (1, 4, len(graph.cuts) - 2, len(graph.cuts) - 1):
        gram, prior = everything[index].gram, everything[index].prior[:k]
        energy = gram.diagonal(dim1=1, dim2=2)
        noise = 0.3 * float(energy.mean()) * S**2
        rest = JacobianGram(gram[:, :k, :k].mean(0)[None], everything[index].trace.mean()[None], prior, 64, S)
        exact = spectrum_bound(rest, noise).value
        for _ in range(80):
            rows = torch.randperm(len(x), generator=generator)[:64]
            drawn = JacobianGram(gram[rows, :k, :k], everything[index].trace[rows], prior, 64, S)
            above.append(spectrum_bound(drawn, noise).low > exact * (1 + 1e-6))
    assert np.mean(above) <= 0.1


def test_weights_of_the_guarantee_are_those_of_the_bound() -> None:
    """Equal Jacobians leave no doubt: the guarantee is then the bound itself, whatever the noise and the directions."""
    for k in (0, 3, 8):
        for sigma in (1e-3, 0.05, 2.0):
            tangents = grams_of(linear(), k)
            assert guaranteed(tangents, sigma**2) == pytest.approx(spectrum_bound(tangents, sigma**2).value, rel=1e-9)


def test_probes_across_the_directions_see_nothing_along_them() -> None:
    """A network that only looks along V: its trace is that of the directions, without an error of probes."""
    x = normal(40, 6).float()
    (basis,), _ = leading_directions([x], 3)
    assert basis is not None
    model = nn.Linear(6, 3, bias=False)
    model.weight.data = basis.clone()
    graph = trace(model.eval(), x[:2])
    found = jacobian_grams(graph, [x], 7, 3, 0.0, 0)[len(graph.cuts) - 1]
    assert found.trace.tolist() == pytest.approx([3.0] * 7, rel=1e-5)


def test_probes_find_the_trace_on_average() -> None:
    model, x = Curved().eval(), normal(2000, 6).float()
    graph = trace(model, x[:2])
    found = jacobian_grams(graph, [x], 2000, 2, 0.0, 0)[len(graph.cuts) - 1]
    exact = torch.func.vmap(torch.func.jacrev(model))(x).detach().square().sum((1, 2)).mean()
    assert float(found.trace.mean()) == pytest.approx(float(exact), rel=0.05)


def test_few_jacobians_do_not_raise_the_bound() -> None:
    """1/E[G] is convex: the plain plug-in is too high on average, the corrected value much less so."""
    scales = torch.exp(normal(400, 8)).reshape(400, 8)
    exact = 1 / (float(torch.exp(torch.tensor(0.5))) / 0.01 + 1 / S**2)
    few = [JacobianGram(s[:, None, None], s, torch.ones(1).double(), 1, S) for s in scales]
    corrected = np.mean([spectrum_bound(t, 0.01).value for t in few])
    plain = np.mean([1 / (float(s.mean()) / 0.01 + 1 / S**2) for s in scales])
    assert plain > 1.05 * exact
    assert abs(corrected - exact) < 0.5 * (plain - exact)


def test_no_noise_guarantees_nothing() -> None:
    assert spectrum_bound(grams_of(linear(), 4), 0.0).value == 0
    with pytest.raises(NotMeasurableError, match="infinite information"):
        fisher_information_nats(grams_of(linear(), 4), 0.0)
    with pytest.raises(NotMeasurableError, match="discrete"):
        Spectrum().at(view_of(normal(20, 3)))


@pytest.mark.parametrize("relative", [0.2, 2.0])
def test_no_attack_beats_a_bound_on_a_network_defended_by_noise(relative: float) -> None:
    """Ridge, kernel and inversion network on smoothed digits, at every cut of a trained network."""
    plain, y = digits(700)
    graph = trace(trained(), plain[:2])
    grams = jacobian_grams(graph, [plain], 200, 16, S, 0)
    x = plain + S * torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))
    targets = dataclasses.replace(targets_for(graph, (x,), y, 0), images=False)
    quick = dataclasses.replace(QUICK, width=12, steps=60)
    for cut in graph.cuts[1:]:
        (bare,) = carried(graph, (x,), 0, cut.index)
        sigma = relative * float(bare.flatten(1).std(0).square().mean().sqrt())
        z = bare + sigma * torch.randn(bare.shape, generator=torch.Generator().manual_seed(2))
        bound = spectrum_bound(grams[cut.index], sigma**2)
        view = CutView(cut, (z,), targets, sigma, 0)
        pixels = targets.pixels[targets.test].flatten(1)
        attacks = [reconstructions(w, targets) for w in (linear_weights(view), kernel_weights(view, 2.0))]
        if cut.name == "squeeze":
            attacks.append(invert((z,), targets, quick, 0).reconstructions.flatten(1))
        best = min(float((found - pixels).square().mean()) for found in attacks)
        assert 0 < bound.low <= best, cut.name
    assert bound.value > 0.3 * S**2  # deep down it says something


@pytest.mark.parametrize("place", ["gram", "trace"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_derivatives_that_are_no_numbers_guarantee_nothing(place: str, number: float) -> None:
    tangents = grams_of(torch.eye(4), 2)
    broken = getattr(tangents, place).clone()
    broken[0] = number
    found = spectrum_bound(dataclasses.replace(tangents, **{place: broken}), 0.1)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.method == "the derivatives hold NaN or infinities"
    assert spectrum_bound(tangents, float("nan")).high == 0
