from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from views import normal, view_of

from advisor.estimators.grams import pixel_gram, train_kernel
from advisor.estimators.linear import LinearInversion
from advisor.estimators.noise import LEVELS, NoiseCurve, NoiseCurves, learning_gain, noise_curve
from advisor.sweep import CutView, NotMeasurableError

SAMPLES = 120


def toy(noise: float = 0.3, seed: int = 0) -> CutView:
    """Four inputs seen through three noisy mixtures of different strength."""
    x = normal(SAMPLES, 4, seed=seed)
    mixing = normal(4, 3, seed=seed + 1) * torch.tensor([3.0, 1.0, 0.2]).double()
    return view_of((x @ mixing + noise * normal(SAMPLES, 3, seed=seed + 2) + 5).float(), pixels=x.float())


def literal_nmse(view: CutView, sigma: float, copies: int = 400) -> float:
    """Ridge really fitted to noisy copies of the train samples and scored on noisy copies of the test samples."""
    z, x = view.z.double(), view.targets.pixels.double()
    train, test, generator = view.targets.train, view.targets.test, torch.Generator().manual_seed(5)

    def noisy(rows: Tensor) -> tuple[Tensor, Tensor]:
        many = z[rows].repeat(copies, 1)
        noise = torch.randn(many.shape, generator=generator, dtype=torch.float64)
        return many + sigma * noise - z[train].mean(0), x[rows].repeat(copies, 1) - x[train].mean(0)

    kernel = train_kernel(view)
    inner = pixel_gram(view.targets)[train][:, train]
    penalty = kernel.penalty(((inner @ kernel.vectors) * kernel.vectors).sum(0))
    (seen, wanted), (unseen, hidden) = noisy(train), noisy(test)
    weights = torch.linalg.solve(seen.T @ seen + copies * penalty * torch.eye(3).double(), seen.T @ wanted)
    return float((unseen @ weights - hidden).square().sum() / hidden.square().sum())


@pytest.mark.parametrize("seed", [0, 1])
def test_curve_is_ridge_trained_on_many_noisy_copies(seed: int) -> None:
    view = toy(seed=10 * seed)
    curve = noise_curve(view)
    for sigma, value in list(zip(curve.sigma, curve.nmse, strict=True))[4:20:3]:
        assert value == pytest.approx(literal_nmse(view, float(sigma)), abs=0.01)


def test_curve_starts_at_the_linear_attack_and_ends_at_the_mean() -> None:
    view = toy()
    curve = noise_curve(view)
    assert curve.bare == pytest.approx(LinearInversion().at(view)["linear_nmse"].value, rel=1e-5)
    assert curve.nmse[0] == pytest.approx(curve.bare, abs=1e-3)
    assert curve.nmse[-1] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("view", [toy(), toy(noise=0.0), toy(noise=100.0), view_of(normal(60, 200).float())])
def test_noise_never_helps_and_shares_lie_between_0_and_1(view: CutView) -> None:
    curve = noise_curve(view)
    assert len(curve.sigma) == LEVELS
    assert (np.diff(curve.nmse) >= 0).all()
    assert ((curve.nmse >= curve.bare) & (curve.nmse <= 1)).all()
    kept = [curve.kept(s) for s in (0.0, *np.geomspace(curve.sigma[0] / 10, curve.sigma[-1] * 10, 60))]
    assert kept[0] == 1
    assert all(0 <= b <= a <= 1 for a, b in pairwise(kept))


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_wanted_noise_is_the_least_level_on_the_curve(share: float) -> None:
    curve = noise_curve(toy())
    sigma = curve.sigma_for(share)
    assert sigma in curve.sigma
    assert curve.kept(sigma) <= share
    assert all(curve.kept(s) > share for s in curve.sigma[curve.sigma < sigma])


def test_shares_are_what_the_errors_say() -> None:
    curve = NoiseCurve(np.array([1.0, 100.0]), np.array([0.2, 0.6]), 0.2)
    assert curve.kept(10.0) == pytest.approx(0.75)  # half way on a log scale: NMSE 0.4, so 0.6 of 0.8
    assert curve.kept(1e-9) == 1.0
    assert curve.kept(1e9) == pytest.approx(0.5)
    assert (curve.sigma_for(0.5 + 1e-9), curve.sigma_for(0.4)) == (100.0, math.inf)


def test_rescaling_z_rescales_the_noise() -> None:
    view = toy()
    one, other = noise_curve(view), noise_curve(replace(view, tensors=(64 * view.tensors[0],)))
    assert other.sigma == pytest.approx(64 * one.sigma)
    assert other.nmse == pytest.approx(one.nmse, abs=1e-6)


def test_constant_z_explains_nothing_for_noise_to_take() -> None:
    curve = noise_curve(view_of(torch.full((40, 5), 3.7), pixels=normal(40, 4).float()))
    assert (curve.bare, curve.kept(1.0), curve.sigma_for(0.1)) == (1.0, 1.0, math.inf)


def test_gain_is_the_linear_attack_with_half_the_samples_minus_with_all() -> None:
    x = normal(200, 40)
    view = view_of((x + 0.3 * normal(200, 40, seed=1)).float(), pixels=x.float())
    train = view.targets.train
    half = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(view.seed))][: len(train) // 2]
    fewer = LinearInversion().at(replace(view, targets=replace(view.targets, train=half)))["linear_nmse"].value
    errors = (
        fewer * float(((x - x[half].mean(0))[view.targets.test]).square().mean()) / float(view.targets.ceiling.mean())
    )
    expected = errors - LinearInversion().at(view)["linear_nmse"].value
    assert expected > 0.02
    assert learning_gain(view).value == pytest.approx(expected, rel=1e-4)


def test_an_inverted_cut_has_nothing_left_to_learn() -> None:
    x = normal(200, 4).float()
    assert learning_gain(view_of(x @ normal(4, 4, seed=3).float(), pixels=x)).value == pytest.approx(0, abs=1e-4)


def test_curves_are_kept_by_cut_and_too_few_samples_say_so() -> None:
    keeper, view = NoiseCurves(), toy()
    assert keeper.at(view)["linear_gain"] == learning_gain(view)
    assert keeper.curves[view.cut.index].bare == noise_curve(view).bare
    with pytest.raises(NotMeasurableError, match="too few"):
        keeper.at(view_of(normal(3, 4).float()))
