from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from advisor.cut_view import CutView
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.linear import LinearInversion
from advisor.estimators.noise import NOISE_DOUBT, NoiseCurve, NoiseCurves, learning_gain, noise_curve, under_noise
from advisor.measures.gram_matrices import pixel_gram, roles, train_kernel
from advisor.testing.made_up_views import normal, view_of


def leaky(n: int = 400, columns: int = 12) -> CutView:
    x = normal(n, 5)
    z = x @ normal(5, columns, seed=1) * torch.linspace(1, 0.2, columns) + 0.1 * normal(n, columns, seed=2)
    return view_of(z.float(), pixels=x.float())


def bare_penalty(view: CutView) -> float:
    kernel, (train, _) = train_kernel(view), roles(view.targets)
    inner = pixel_gram(view.targets)[train][:, train]
    return kernel.penalty(((inner @ kernel.vectors) * kernel.vectors).sum(0))


def literally(view: CutView, sigma: float, copies: int = 40) -> float:
    """Train ridge on many noisy copies of the train samples, attack noisy copies of the test samples."""
    z, x, targets = view.z.double(), view.targets.pixels.double(), view.targets
    train, test = targets.train, targets.test
    z, x = z - z[train].mean(0), x - x[train].mean(0)
    noisy = torch.cat([z[train] + sigma * normal(*z[train].shape, seed=10 + k) for k in range(copies)])
    model = Ridge(alpha=copies * bare_penalty(view), fit_intercept=False)
    model.fit(noisy.numpy(), x[train].repeat(copies, 1).numpy())
    errors = [
        (torch.from_numpy(model.predict((z[test] + sigma * normal(*z[test].shape, seed=999 + k)).numpy())) - x[test])
        for k in range(copies)
    ]
    return float(torch.stack(errors).square().mean() / x[test].square().mean())


@pytest.mark.parametrize("level", [8, 10, 12, 13, 14])
@pytest.mark.parametrize("columns", [12, 350])
def test_curve_is_what_training_on_noisy_copies_gives(level: int, columns: int) -> None:
    """With fewer features than train samples (300), and with more."""
    view = leaky(columns=columns)
    curve = noise_curve(view)
    assert curve.nmse[level] == pytest.approx(literally(view, float(curve.sigma[level])), rel=0.03, abs=2e-3)


def test_curve_starts_at_the_bare_attack_and_ends_at_the_mean() -> None:
    view = leaky()
    curve = noise_curve(view)
    assert curve.bare == pytest.approx(LinearInversion().at(view)["linear_nmse"].value, rel=1e-3)
    assert curve.nmse[0] == pytest.approx(curve.bare, rel=0.02)
    assert curve.nmse[-1] == pytest.approx(1, abs=1e-3)
    assert (np.diff(curve.nmse) >= 0).all()
    assert (np.diff(curve.sigma) > 0).all()


def test_linear_gaussian_models_reach_the_exact_mmse_at_every_noise() -> None:
    W = normal(5, 8, seed=3)
    x = normal(2000, 5)
    curve = noise_curve(view_of((x @ W).float(), pixels=x.float()))
    for sigma, found in zip(curve.sigma, curve.nmse, strict=True):
        exact = float(torch.linalg.inv(W @ W.T / sigma**2 + torch.eye(5)).trace()) / 5
        assert found == pytest.approx(exact, rel=0.08, abs=2e-3)


def test_scale_of_z_moves_sigma_alone() -> None:
    view = leaky()
    loud = view_of(100 * view.z, pixels=view.targets.pixels)
    quiet_curve, loud_curve = noise_curve(view), noise_curve(loud)
    assert loud_curve.sigma == pytest.approx(100 * quiet_curve.sigma, rel=1e-4)
    assert loud_curve.nmse == pytest.approx(quiet_curve.nmse, abs=1e-4)


def test_share_that_survives_is_read_off_the_curve() -> None:
    curve = NoiseCurve(np.array([0.1, 1.0, 10.0]), np.array([0.2, 0.6, 1.0]), 0.2)
    assert curve.kept(0) == 1
    assert curve.kept(1.0) == pytest.approx(0.5)
    assert curve.kept(math.sqrt(10)) == pytest.approx(0.25)  # straight lines over log σ
    assert curve.kept(1e-5) == 1
    assert curve.kept(1e5) == 0
    assert curve.sigma_for(0.5) == 1.0
    assert curve.sigma_for(0.3) == 10.0
    assert math.isinf(NoiseCurve(np.array([0.1, 1.0]), np.array([0.2, 0.6]), 0.2).sigma_for(0.1))


def test_noise_that_never_leaked_stays_at_the_mean() -> None:
    curve = noise_curve(view_of(normal(60, 4, seed=9).float(), pixels=normal(60, 3).float()))
    assert curve.bare == pytest.approx(1, abs=0.08)
    assert curve.nmse == pytest.approx(np.ones(len(curve.sigma)), abs=0.08)


def test_a_constant_has_no_curve() -> None:
    """Nothing is known of what noise does where there is nothing to hide: all of nothing survives."""
    curve = noise_curve(view_of(torch.full((60, 4), 2.0), pixels=normal(60, 3).float()))
    assert (len(curve.sigma), curve.bare, curve.kept(1.0)) == (0, 1.0, 1.0)


def test_a_constant_gains_nothing_from_more_samples() -> None:
    """They make a better mean, and that is no leak."""
    assert learning_gain(view_of(torch.full((60, 4), 2.0), pixels=normal(60, 3).float())).value == 0


def test_gain_of_the_last_doubling_is_that_of_the_linear_attack() -> None:
    """Against the attack itself on half the samples; more samples help while they are few, and no longer when many."""
    few, many = view_of_size(60), view_of_size(1200)
    half = few.targets.train[torch.randperm(45, generator=torch.Generator().manual_seed(0))[:22]]
    targets = few.targets
    smaller = type(targets)(
        targets.pixels, False, targets.labels, True, half, targets.test, targets.classes
    )  # fmt: skip
    reduced = CutView(few.cut, few.tensors, smaller, few.wire_step, 0)
    with_half = float(LinearInversion().at(reduced)["linear_nmse"])
    with_all = float(LinearInversion().at(few)["linear_nmse"])
    assert learning_gain(few).value == pytest.approx(with_half - with_all, abs=0.01)
    assert learning_gain(few).value > 5 * learning_gain(many).value >= 0


def view_of_size(n: int) -> CutView:
    x = normal(n, 3)
    return view_of(
        torch.cat([x, normal(n, 12, seed=4)], 1).float() + 0.5 * normal(n, 15, seed=5).float(), pixels=x.float()
    )


def test_curves_are_kept_for_the_search() -> None:
    keeper, view = NoiseCurves(), leaky()
    found = keeper.at(view)
    assert found["linear_gain"].value >= 0
    assert keeper.curves[view.cut.name].nmse == pytest.approx(noise_curve(view).nmse)


def test_too_few_samples_are_said() -> None:
    with pytest.raises(NotMeasurableError, match="too few"):
        NoiseCurves().at(view_of(normal(3, 4).float()))


def test_under_noise_ends_meet_without_noise_and_at_the_floor() -> None:
    bare = Estimate(0.4, 0.03, 0.35, 0.45)
    same = under_noise(bare, 1.0, 1.0, "")
    assert (same.value, same.low, same.high) == pytest.approx((0.4, 0.35, 0.45))
    gone = under_noise(bare, 0.0, 1.0, "")
    assert (gone.value, gone.low, gone.high) == (1.0, 1.0, 1.0)
    half = under_noise(bare, 0.5, 1.0, "")
    assert half.value == pytest.approx(0.7)
    assert half.low == pytest.approx(1 - 0.65 * 0.5 ** (1 - NOISE_DOUBT))
    assert half.high == pytest.approx(1 - 0.55 * 0.5 ** (1 + NOISE_DOUBT))


def test_likeness_under_noise_falls_to_that_of_the_mean() -> None:
    found = under_noise(Estimate(0.8, 0.02, 0.75, 0.85), 0.3, 0.2, "")
    assert found.low < found.value == pytest.approx(0.38)
    assert 0.2 < found.low < found.high < 0.85
