from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from advisor.batches import carried
from advisor.cut_view import CutView
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.inversion import alignment, training
from advisor.estimators.inversion.alignment import (
    QUICK,
    QuickAlignment,
    invert,
    mirrored_activations,
    score,
    surely_better,
)
from advisor.estimators.inversion.training import train_all
from advisor.estimators.linear import LinearInversion
from advisor.estimators.study.study_samples import targets_for
from advisor.measures.images import mse, psnr, ssim
from advisor.progress import of_shares
from advisor.testing.made_up_views import normal, view_of
from advisor.tracing.tracer import trace
from tests.estimators.nets import digits, trained

SMALL = dataclasses.replace(QUICK, width=12, steps=48)


def pictures(n: int = 400, side: int = 8, seed: int = 0) -> Tensor:
    """Random pictures [n, 1, side, side] in [0, 1]: smooth, as photographs are, and with some detail of each pixel."""
    generator = torch.Generator().manual_seed(seed)
    coarse, fine = torch.rand(n, 1, 4, 4, generator=generator), torch.rand(n, 1, side, side, generator=generator)
    return 0.5 * F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False) + 0.5 * fine


def seen(z: Tensor, pixels: Tensor, images: bool = True) -> CutView:
    return view_of(z.float(), pixels=pixels.float(), images=images)


def quick(view: CutView, seed: int = 0) -> Estimate:
    return invert(view.tensors, view.targets, SMALL, seed).nmse


def mixed(x: Tensor) -> Tensor:
    """An invertible convolution of pictures: an orthogonal mixing of 2×2 blocks."""
    blocks = F.pixel_unshuffle(x, 2)
    turn = torch.linalg.qr(normal(4, 4, seed=3))[0].float()
    return torch.einsum("nchw,dc->ndhw", blocks, turn)


@pytest.mark.parametrize(
    "reading",
    [
        lambda z: z,
        lambda z: z.permute(0, 2, 3, 1),
        lambda z: z.flatten(2).transpose(1, 2),
        lambda z: torch.cat([torch.ones(len(z), 1, 4), z.flatten(2).transpose(1, 2)], 1),
        lambda z: z.flatten(1),
        lambda z: z.flatten(1)[:, :, None, None],
        lambda z: F.pixel_shuffle(z, 2),
        lambda z: F.interpolate(z, scale_factor=4.0),
    ],
    ids=["map", "last", "tokens", "class", "vector", "1x1", "full", "larger"],
)
def test_an_invertible_map_is_inverted_in_any_layout(reading: object) -> None:
    x = pictures()
    assert quick(seen(reading(mixed(x)), x)).value < 0.01  # type: ignore[operator]


def test_several_tensors_are_used_together() -> None:
    x = pictures()
    z = mixed(x)
    view = seen(z[:, :1], x)
    both = dataclasses.replace(view, tensors=(z[:, :2].contiguous(), z[:, 2:].flatten(1)))
    assert quick(both).value < 0.01 < 0.05 < quick(view).value


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_linear_gaussian_models_reach_the_exact_mmse_and_never_beat_it(sigma: float) -> None:
    """x ~ N(0, I), z = Wx + σn: the best attacker of all is left with Tr((WᵀW/σ² + I)⁻¹)/d."""
    W = normal(8, 5, seed=3)
    x = normal(1600, 5)
    z = x @ W.T + sigma * normal(1600, 8, seed=1)
    exact = float(torch.linalg.inv(W.T @ W / sigma**2 + torch.eye(5)).trace()) / 5
    found = quick(seen(z, x, images=False))
    assert found.value == pytest.approx(exact, rel=0.12)
    assert found.low <= exact * 1.02
    assert found.high >= exact * 0.98  # what beats it surely would be a bug: it has seen the answers


def test_gaussian_pictures_under_noise_reach_the_exact_mmse() -> None:
    """The same for maps: blocks of 2×2 pixels with a known covariance, seen under noise by a convolution."""
    spread = normal(4, 4, seed=5) / 2
    blocks = torch.einsum("nchw,dc->ndhw", normal(800, 4, 4, 4), spread)
    z = blocks + 0.7 * normal(800, 4, 4, 4, seed=1)
    covariance = spread @ spread.T
    left = torch.linalg.inv(torch.linalg.inv(covariance) + torch.eye(4) / 0.49)
    exact = float(left.trace() / covariance.trace())
    found = quick(seen(z, 0.5 + 0.05 * F.pixel_shuffle(blocks, 2)))  # far from 0 and 1, where clipping would help
    assert 0.2 < exact < 0.8
    assert found.value == pytest.approx(exact, rel=0.1)
    assert found.high >= exact * 0.98


@pytest.mark.parametrize("shape", [(4, 8, 8), (12, 4, 4), (40,), (2000,)])
def test_noise_teaches_nothing(shape: tuple[int, ...]) -> None:
    x = pictures(300)
    found = quick(seen(normal(300, *shape, seed=7), x))
    assert 0.97 < found.value < 1.03
    few = quick(seen(normal(80, *shape, seed=8), x[:80]))
    assert 0.9 < few.value < 1.1


@pytest.mark.parametrize("shape", [(4, 4, 4), (30,)])
def test_a_constant_teaches_nothing(shape: tuple[int, ...]) -> None:
    assert quick(seen(torch.full((100, *shape), 5.3), pictures(100))).value == pytest.approx(1, abs=1e-5)


def test_the_network_follows_what_no_line_does() -> None:
    x = pictures(500)
    view = seen(torch.cat([torch.sin(8 * x), torch.cos(8 * x)], 1), x)
    assert quick(view).value < 0.5 * LinearInversion().at(view)["linear_nmse"].value


def test_a_vector_is_inverted_no_worse_than_by_ridge() -> None:
    x = pictures(400)
    W = normal(64, 20).float()
    for z in (x.flatten(1) @ W, torch.relu(x.flatten(1) @ W), torch.softmax(x.flatten(1) @ W, 1)):
        view = seen(z, x)
        assert quick(view).value < 1.03 * LinearInversion().at(view)["linear_nmse"].value


def test_scale_and_shift_of_z_change_nothing() -> None:
    x = pictures(200)
    z = mixed(x)[:, :2]
    plain = quick(seen(z, x)).value
    assert 0.02 < plain < 0.9
    for other in (1e4 * z, 1e-4 * z, z + 50):
        assert quick(seen(other, x)).value == pytest.approx(plain, rel=0.05)


def test_inputs_of_any_scale_are_reconstructed() -> None:
    x = normal(300, 4) * torch.tensor([1e3, 2e3, 5e2, 1e3]) + 1e4
    view = seen(torch.tanh(x @ normal(4, 12, seed=1) / 1e4), x, images=False)
    assert quick(view).value < 0.3


def test_scores_are_those_of_the_reconstructions() -> None:
    x = pictures(80)
    view = seen(mixed(x)[:, :2], x)
    found = invert(view.tensors, view.targets, SMALL, 0)
    original = x[view.targets.test]
    assert found.reconstructions.shape == original.shape
    assert 0 <= float(found.reconstructions.min()) <= float(found.reconstructions.max()) <= 1
    assert torch.allclose(found.mse, mse(found.reconstructions, original))
    assert torch.allclose(found.psnr, psnr(found.reconstructions, original))
    assert torch.allclose(found.ssim, ssim(found.reconstructions, original))
    mean = x[view.targets.train].mean(0)
    assert found.nmse.value == pytest.approx(float(found.mse.mean() / (original - mean).square().mean()), rel=1e-5)


def test_small_pictures_and_other_inputs_have_no_ssim() -> None:
    x = pictures(60, side=4)
    found = QuickAlignment(SMALL).at(seen(F.pixel_unshuffle(x, 2), x))
    assert found["ka_nmse"].value < 0.05
    assert math.isnan(found["ka_ssim"].value)
    assert "7×7" in found["ka_ssim"].method
    tabular = QuickAlignment(SMALL).at(seen(normal(60, 4), normal(60, 4), images=False))
    assert "not images" in tabular["ka_ssim"].method


@pytest.mark.parametrize(
    ("z", "x", "reason"),
    [
        (torch.full((40, 6), math.nan), pictures(40), "NaN or infinities"),
        (torch.full((40, 6), math.inf), pictures(40), "NaN or infinities"),
        (torch.rand(9, 6), pictures(9), "at least 8 samples to learn from, not 7"),
        (torch.rand(40, 6), torch.zeros(40, 1), "equals the mean of the others"),
    ],
)
def test_what_cannot_be_attacked_is_said(z: Tensor, x: Tensor, reason: str) -> None:
    view = seen(z, x, images=x.dim() == 4)
    with pytest.raises(NotMeasurableError, match=reason):
        QuickAlignment(SMALL).at(view)


def test_training_that_diverges_is_failed_and_never_private() -> None:
    x = pictures(80)
    view = seen(mixed(x)[:, :1], x)
    with pytest.raises(NotMeasurableError, match="diverged: this says nothing about privacy"):
        invert(view.tensors, view.targets, dataclasses.replace(SMALL, rate=1e30), 0)
    with pytest.raises(NotMeasurableError, match="diverged"):
        score(torch.full((20, 1, 8, 8), math.nan), view.targets)


@pytest.mark.parametrize("shape", [(2, 4, 4), (9,)])
def test_same_seed_same_answer_whatever_ran_before(shape: tuple[int, ...]) -> None:
    x = pictures(80)
    view = seen(mixed(x).flatten(1)[:, : math.prod(shape)].reshape(-1, *shape), x)
    first = invert(view.tensors, view.targets, SMALL, 3).reconstructions
    torch.rand(5)
    again = invert(view.tensors, view.targets, SMALL, 3).reconstructions
    other = invert(view.tensors, view.targets, SMALL, 4).reconstructions
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_callers_torch_is_left_as_found() -> None:
    x = pictures(60)
    view = seen(mixed(x)[:, :2], x)
    torch.manual_seed(11)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    z = view.tensors[0].clone()
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            found = invert(view.tensors, view.targets, SMALL, 0)
            assert torch.is_grad_enabled() is mode
            assert not found.reconstructions.requires_grad
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    assert torch.equal(view.tensors[0], z)


def test_order_of_the_train_samples_hardly_matters() -> None:
    x = pictures(300)
    z = mixed(x)[:, :2]
    order = torch.cat([torch.randperm(225, generator=torch.Generator().manual_seed(1)), torch.arange(225, 300)])
    assert quick(seen(z[order], x[order])).value == pytest.approx(quick(seen(z, x)).value, rel=0.1)


def test_held_out_samples_have_no_part_in_learning() -> None:
    x = pictures(120)
    z = mixed(x)[:, :2]
    view = seen(z, x)
    test = view.targets.test
    twisted = x.clone()
    twisted[test] = 1 - twisted[test]
    other = seen(z, twisted)
    a, b = (invert(v.tensors, v.targets, SMALL, 0).reconstructions for v in (view, other))
    assert torch.equal(a, b)


def test_a_gain_within_chance_counts_as_none() -> None:
    wanted = normal(40, 10).float()
    mean = torch.zeros(10)
    assert surely_better(0.5 * wanted, wanted, mean)
    assert not surely_better(0.2 * normal(40, 10, seed=1).float(), wanted, mean)
    assert not surely_better(-0.5 * wanted, wanted, mean)


def bent(x: Tensor) -> Tensor:
    """The activation of pictures, each value for itself: no line inverts it."""
    return torch.cat([torch.sin(8 * x), torch.cos(8 * x)], 1)


def test_mirrored_images_help_an_attacker_of_few() -> None:
    x = pictures(110)
    view = seen(bent(x), x)
    turned = x[view.targets.train].flip(-1)
    plain = invert(view.tensors, view.targets, SMALL, 0)
    more = invert(view.tensors, view.targets, SMALL, 0, mirrored=(bent(turned),))
    assert more.nmse.value < 0.95 * plain.nmse.value
    assert torch.equal(more.ceiling, plain.ceiling)


def test_images_that_look_otherwise_in_the_mirror_are_learnt_from_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(110) * torch.linspace(0.1, 1, pictures(1).shape[-1])  # light from the right
    view = seen(bent(x), x)
    mirrored = (bent(x[view.targets.train].flip(-1)),)
    plain = invert(view.tensors, view.targets, SMALL, 0)
    assert invert(view.tensors, view.targets, SMALL, 0, mirrored=mirrored).nmse == plain.nmse
    monkeypatch.setattr(training, "UNLIKE", math.inf)
    assert invert(view.tensors, view.targets, SMALL, 0, mirrored=mirrored).nmse != plain.nmse


def test_what_stops_the_training_is_not_learnt_from_in_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(120)
    view = seen(bent(x), x)
    train, found = view.targets.train, []
    turned = x[train].flip(-1)

    def spied(decoders: object, pixels: Tensor, fit: Tensor, check: Tensor, *rest: object, **named: object) -> object:
        found.append((pixels, fit, check, rest[-1]))
        return train_all(decoders, pixels, fit, check, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(alignment, "train_all", spied)
    invert(view.tensors, view.targets, SMALL, 0, mirrored=(bent(turned),))
    ((pixels, fit, check, more),) = found
    assert torch.equal(pixels[more], x[fit].flip(-1))
    assert sorted([*fit.tolist(), *check.tolist()]) == train.tolist()
    assert int(more.min()) >= len(x)


def test_mirrored_images_cross_the_model_themselves() -> None:
    x, y = digits(40)
    graph = trace(trained(), x[:2])
    targets = targets_for(graph, (x,), y, 0)
    crossing = mirrored_activations(graph, (x,), targets)
    assert crossing is not None
    for index in (0, 2, len(graph.cuts) - 1):
        (found,) = crossing(graph.cuts[index]) or ()
        (wanted,) = carried(graph, (x[targets.train].flip(-1),), 0, index)
        torch.testing.assert_close(found, wanted)
    assert mirrored_activations(graph, (x,), dataclasses.replace(targets, images=False)) is None


def test_what_is_too_large_to_be_kept_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = digits(40)
    graph = trace(trained(), x[:2])
    targets = targets_for(graph, (x,), y, 0)
    monkeypatch.setattr(alignment, "MIRRORED_BYTES", 30 * 64 * 4)
    crossing = mirrored_activations(graph, (x,), targets)
    assert crossing is not None
    assert crossing(graph.cuts[1]) is None
    assert crossing(graph.cuts[-1]) is not None


def test_progress_is_told() -> None:
    x = pictures(120)
    view = seen(mixed(x)[:, :2], x)
    told: list[float] = []
    invert(view.tensors, view.targets, SMALL, 0, tick=of_shares(told.append))
    assert told
    assert all(0 < share <= 1 for share in told)


def test_first_reconstructions_are_kept_for_the_report() -> None:
    x = pictures(60)
    attack, view = QuickAlignment(SMALL), seen(mixed(x), x)
    attack.at(view)
    expected = invert(view.tensors, view.targets, SMALL, view.seed).reconstructions[:8]
    assert torch.equal(attack.reconstructions[view.cut.name], expected)
