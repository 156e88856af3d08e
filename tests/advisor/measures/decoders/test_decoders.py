from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.measures.decoders.activation_layouts import Layout
from advisor.measures.decoders.fourier import Fourier
from advisor.measures.decoders.map_decoder import MapDecoder, map_width
from advisor.measures.decoders.standard import standardised
from advisor.measures.decoders.usual_decoders import decoders_for
from advisor.measures.decoders.vector_decoder import VectorDecoder, principal_components
from advisor.testing.made_up_views import normal

FIT, CHECK, TRAIN, TEST = torch.arange(30), torch.arange(30, 45), torch.arange(45), torch.arange(45, 60)


def problem() -> tuple[Tensor, Tensor]:
    """60 maps [4, 3, 3] and pictures [2, 6, 6] that depend on them in part."""
    features = normal(60, 4, 3, 3).float() + 2
    cells = torch.einsum("nchw,tc->nthw", features, normal(8, 4, seed=1).float()) + normal(60, 8, 3, 3, seed=2).float()
    return features, 0.1 * F.pixel_shuffle(cells, 2) + torch.linspace(0, 1, 36).reshape(6, 6)


def as_vectors() -> tuple[Tensor, Tensor]:
    features, pixels = problem()
    return features.flatten(1), pixels


def made(kind: str) -> tuple[MapDecoder | VectorDecoder, Tensor]:
    if kind == "map":
        features, pixels = problem()
        return MapDecoder(features, pixels, TRAIN, 2, 8, 1), pixels
    features, pixels = as_vectors()
    return VectorDecoder(features, pixels, TRAIN, 8, 1, kind == "curved"), pixels


def test_standardised_removes_mean_and_scale_of_each_channel_by_the_train_samples() -> None:
    features = 5 * normal(40, 3, 4, 4).float() + torch.tensor([1.0, -7.0, 300.0])[:, None, None]
    found = standardised(features, torch.arange(25))
    known = features[:25].transpose(0, 1).flatten(1)
    expected = (features - known.mean(1)[:, None, None]) / known.std(1)[:, None, None]
    assert torch.allclose(found, expected, atol=1e-4)


def test_what_does_not_vary_becomes_zero_rather_than_rounding_noise() -> None:
    features = normal(40, 3).float()
    features[:, 1] = 5.3
    features[:, 2] = 1e6 + 0.06 * features[:, 2]
    found = standardised(features, torch.arange(30))
    assert torch.equal(found[:, 1:], torch.zeros(40, 2))
    assert float(found[:, 0].std()) == pytest.approx(1, abs=0.1)
    assert torch.equal(standardised(torch.full((9, 2), 3.3), torch.arange(9)), torch.zeros(9, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_channel_is_held_against_its_own_size_not_that_of_others(dtype: torch.dtype) -> None:
    """The mean and the deviation of an attacker's choice: nothing hides beside a channel that is far larger."""
    small, large = (1e-3, 1e4) if dtype is torch.float16 else (1e-4, 1e9)
    features = normal(40, 3, 2, 2) * torch.tensor([small, 1.0, large], dtype=torch.float64)[:, None, None]
    found = standardised(features.to(dtype), torch.arange(40))[torch.arange(40)]
    assert found.std((0, 2, 3)) == pytest.approx(1, abs=0.01)


def test_few_rounding_steps_are_enough_to_be_read() -> None:
    features = (1000 + 2e-4 * normal(40, 2)).float()
    assert standardised(features, torch.arange(40))[torch.arange(40)].std(0) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("kind", ["map", "plain", "curved"])
def test_before_anything_is_solved_the_mean_picture_is_predicted(kind: str) -> None:
    decoder, pixels = made(kind)
    if kind != "map":
        decoder.penalty = math.inf
        decoder.solve_again(TRAIN)
    found = decoder.picture(TEST, decoder.network(decoder.features[TEST]))
    assert torch.allclose(found, pixels[TRAIN].mean(0).expand_as(found), atol=1e-6)


@pytest.mark.parametrize("kind", ["map", "plain", "curved"])
def test_linear_part_and_a_perfect_correction_make_the_picture(kind: str) -> None:
    decoder, pixels = made(kind)
    decoder.solve(FIT, CHECK)
    left, outside = decoder.left(CHECK)
    found = decoder.picture(CHECK, left)
    assert float((found - pixels[CHECK]).square().mean()) == pytest.approx(outside, abs=1e-6)
    alone = decoder.picture(CHECK, torch.zeros_like(left))
    assert 0.1 < float((alone - pixels[CHECK]).square().mean()) / float(decoder.goal[CHECK].square().mean()) < 0.95


def test_map_decoder_is_ridge_on_the_patches_of_the_map() -> None:
    decoder, pixels = made("map")
    decoder.solve(FIT, CHECK)
    z = decoder.features - decoder.features[TRAIN].mean(0)
    rows = F.unfold(z, 3, padding=1).transpose(1, 2)
    goal = F.pixel_unshuffle(pixels - pixels[TRAIN].mean(0), 2).flatten(2).transpose(1, 2)
    for index in (FIT, TRAIN):
        model = Ridge(alpha=decoder.penalty, fit_intercept=False)
        model.fit(rows[index].flatten(0, 1).numpy(), goal[index].flatten(0, 1).numpy())
        cells = torch.from_numpy(model.predict(rows[TEST].flatten(0, 1).numpy())).reshape(15, 9, 8)
        expected = pixels[TRAIN].mean(0) + F.pixel_shuffle(cells.transpose(1, 2).reshape(15, 8, 3, 3), 2)
        found = decoder.picture(TEST, torch.zeros(15, 8, 3, 3))
        assert torch.allclose(found, expected.float(), atol=1e-3)
        decoder.solve_again(TRAIN)


def test_maps_that_are_enlarged_after_the_first_layer_are_read_as_if_before_it() -> None:
    """134 channels are too many for patches: the layer reads cells, and 5×5 of them become 9×9."""
    small = normal(60, 134, 5, 5).float()
    wide = F.interpolate(small[:, :4].sum(1, keepdim=True), size=(9, 9), mode="bilinear", align_corners=False)
    pixels = wide + 0.1 * normal(60, 1, 9, 9, seed=1).float()
    torch.manual_seed(0)
    decoder = MapDecoder(small, pixels, TRAIN, 1, 8, 1)
    before = F.interpolate(standardised(small, TRAIN), size=(9, 9), mode="bilinear", align_corners=False)
    first, *rest = decoder.network
    plain = nn.Conv2d(134, 8, 1)
    plain.load_state_dict(first.state_dict())
    expected = nn.Sequential(plain, *rest[:-1])(before)
    assert torch.allclose(nn.Sequential(first, *rest[:-1])(decoder.features[:]), expected, atol=1e-5)

    decoder.solve(FIT, CHECK)
    assert math.isfinite(decoder.penalty)
    rows = (before - before[TRAIN].mean(0)).flatten(2).transpose(1, 2)
    goal = (pixels - pixels[TRAIN].mean(0)).flatten(2).transpose(1, 2)
    model = Ridge(alpha=decoder.penalty, fit_intercept=False).fit(rows[FIT].flatten(0, 1), goal[FIT].flatten(0, 1))
    found = (decoder.picture(TEST) - pixels[TRAIN].mean(0)).flatten()  # one value a cell
    assert np.allclose(found, model.predict(rows[TEST].flatten(0, 1)), atol=1e-3)
    again = decoder.again(CHECK, small[CHECK])[1]
    assert torch.allclose(again, decoder.left(CHECK)[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["plain", "curved"])
def test_vector_decoder_is_ridge_with_its_own_penalty(kind: str) -> None:
    decoder, pixels = made(kind)
    decoder.solve(FIT, CHECK)
    decoder.solve_again(TRAIN)
    z = decoder.lifted.double().numpy()
    goal = (pixels - pixels[TRAIN].mean(0)).flatten(1).double().numpy()
    model = Ridge(alpha=decoder.penalty, fit_intercept=False).fit(z[TRAIN], goal[TRAIN])
    expected = pixels[TRAIN].mean(0).flatten().numpy() + model.predict(z[TEST])
    found = decoder.picture(TEST, torch.zeros(15, decoder.basis.shape[1])).flatten(1)
    assert np.allclose(found.numpy(), expected, atol=1e-3)


def test_network_on_a_vector_learns_what_a_fit_without_the_sample_would_leave() -> None:
    decoder, pixels = made("plain")
    decoder.solve(FIT, CHECK)
    left, _ = decoder.left(FIT)
    others = FIT[FIT != 4]
    z, goal = decoder.lifted.double().numpy(), (pixels - pixels[TRAIN].mean(0)).flatten(1).double().numpy()
    model = Ridge(alpha=decoder.penalty, fit_intercept=False).fit(z[others], goal[others])
    expected = (goal[4] - model.predict(z[4:5])[0]) @ decoder.basis.double().numpy()
    assert np.allclose(left[4].numpy(), expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", ["map", "plain", "curved"])
def test_another_draw_of_the_same_samples_is_read_as_the_first_was(kind: str) -> None:
    decoder, _pixels = made(kind)
    features = problem()[0] if kind == "map" else as_vectors()[0]
    decoder.solve(FIT, CHECK)
    for index in (FIT[3:9], CHECK[:4]):
        z, left = decoder.again(index, features[index])
        assert torch.allclose(z, decoder.features[index], atol=1e-6)
        assert torch.allclose(left, decoder.left(index)[0], atol=1e-4)


@pytest.mark.parametrize("kind", ["plain", "curved"])
def test_of_another_draw_a_fit_without_the_sample_leaves_what_scikit_learn_says(kind: str) -> None:
    decoder, pixels = made(kind)
    decoder.solve(FIT, CHECK)
    other = as_vectors()[0] + 0.7 * normal(60, 36, seed=9).float()
    _, left = decoder.again(FIT, other[FIT])
    lifted = (decoder.lift(decoder.spread(other)) - decoder.centre).double().numpy()
    z, goal = decoder.lifted.double().numpy(), (pixels - pixels[TRAIN].mean(0)).flatten(1).double().numpy()
    for i in (0, 4, 29):
        others = FIT[i != FIT]
        model = Ridge(alpha=decoder.penalty, fit_intercept=False).fit(z[others], goal[others])
        expected = (goal[i] - model.predict(lifted[i : i + 1])[0]) @ decoder.basis.double().numpy()
        assert np.allclose(left[i].numpy(), expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("shape", [(300, 20), (30, 50)])
def test_principal_components_are_scikit_learns(shape: tuple[int, int]) -> None:
    x = normal(*shape) * torch.linspace(3, 1, shape[1])
    x = (x - x.mean(0)).float()
    found = principal_components(x, 6)
    expected = PCA(6).fit(x.numpy()).components_
    assert np.allclose(np.abs(expected @ found.numpy()), np.eye(6), atol=1e-2)
    assert torch.allclose(found.T @ found, torch.eye(6), atol=1e-4)


def test_principal_components_stop_at_the_rank() -> None:
    flat = normal(50, 3).float() @ normal(3, 12, seed=1).float()
    assert principal_components(flat - flat.mean(0), 8).shape == (12, 3)
    assert principal_components(torch.zeros(9, 4), 8).shape == (4, 0)


def test_fourier_features_have_the_inner_products_of_the_kernels() -> None:
    """A random feature map of 1,024 errs by about 1/√1024 = 0.03."""
    torch.manual_seed(0)
    z = normal(80, 5).float()
    lifted = Fourier.drawn(z, torch.arange(80))(z)
    width = 2 * torch.pdist(z).median()
    exact = z @ z.T / 5 + torch.exp(-torch.cdist(z, z).square() / (2 * width**2))
    assert float((lifted @ lifted.T - exact).square().mean().sqrt()) < 0.04


def test_maps_of_few_cells_are_also_read_as_vectors() -> None:
    pixels = torch.rand(60, 1, 16, 16)

    def kinds(features: Tensor, layout: Layout) -> list[str]:
        return [type(make()).__name__ for make in decoders_for(features, layout, pixels, TRAIN, 8, 1)]

    assert kinds(torch.rand(60, 3, 8, 8), Layout("map", 2)) == ["MapDecoder"]
    assert kinds(torch.rand(60, 3, 4, 4), Layout("map", 4)) == ["MapDecoder", "VectorDecoder", "VectorDecoder"]
    assert kinds(torch.rand(60, 30), Layout("vector")) == ["VectorDecoder", "VectorDecoder"]


def test_width_keeps_the_work_the_same_at_any_resolution() -> None:
    assert [map_width(24, s * s) for s in (64, 32, 16, 8, 2)] == [24, 24, 48, 96, 96]


def test_what_all_elements_have_in_common_hides_nothing_of_what_they_have_apart() -> None:
    own, shared = normal(200, 6), normal(200, 1, seed=1)
    features = (own @ normal(6, 12, seed=2) + 1e4 * shared).float()
    fit, check = torch.arange(150), torch.arange(150, 200)
    decoder = VectorDecoder(features, own.float(), torch.arange(150), 8, 1)
    decoder.solve(fit[:120], fit[120:])
    decoder.solve_again(fit)
    left = decoder.picture(check) - own[check].float()
    assert float(left.square().mean()) < 0.01
