from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advisor import panel
from advisor.data.roles import sides
from advisor.errors import AdvisorError, DataError
from advisor.estimators.study.leakage_study import LeakageStudy, study
from advisor.estimators.study.score import ATTACKS
from advisor.estimators.study.study_samples import mean_image_ssim, study_samples, targets_for
from advisor.tracing.tracer import trace
from tests.estimators.nets import Denormalising, DigitNet, Restorer, Tokens, TwoInputs, digits, fixed, trained

pytestmark = pytest.mark.usefixtures("short_attacks")

CONTRACT = [
    "fisher", "fisher_snr", "mse_bound", "rc2", "rc2_per_dim", "rc2_ratio", "entropy_bound", "rate", "dcor",
    "spectrum_bound", "fsinfo", "mixture_bound", "club", "info_nce", "decoder_entropy", "label_leak_few",
    "linear_nmse", "ka_mse", "ka_nmse", "ka_ssim", "label_leak", "score", "score_ssim", "rc2_drop", "in_gpz", "in_zone",
]  # fmt: skip


def studied(model: nn.Module, x: Any, y: Tensor | None = None, **options: Any) -> LeakageStudy:
    first = x if isinstance(x, Tensor) else None
    example = first[:2] if first is not None else tuple(t[:2] for t in x)
    return study(trace(model, example), x, y, **options)


@functools.cache
def digit_study() -> LeakageStudy:
    return studied(trained(), *digits(500))


def test_every_column_of_the_contract_is_there_with_a_value_or_a_reason() -> None:
    profile = digit_study().profile
    assert set(CONTRACT) <= {column.name for column in profile}
    for column in profile:
        for value, why in zip(column.values, column.why, strict=True):
            assert math.isnan(value) == bool(why), (column.name, why)
        known = ~np.isnan(column.low) & ~np.isnan(column.values)
        assert (column.low[known] <= column.values[known] + 1e-9).all(), column.name
        assert (column.values[known] <= column.high[known] + 1e-9).all(), column.name
        assert column.unit
        assert column.method
    for name in ("fisher", "rc2", "dcor", "linear_nmse", "ka_nmse", "ka_ssim", "label_leak", "score", "score_ssim"):
        assert not np.isnan(profile[name].values).any(), name


def test_depth_hides_the_digits_and_shows_their_labels() -> None:
    profile = digit_study().profile
    assert profile["ka_nmse"].values[0] < 0.01
    assert profile["ka_nmse"].values[-1] > 0.15
    assert profile["ka_ssim"].values[0] > 0.99 > profile["ka_ssim"].values[-1] + 0.02
    assert (np.diff(profile["score"].values) >= 0).all()
    assert (np.diff(profile["score_ssim"].values) <= 0).all()
    assert profile["label_leak"].values[-1] > 0.85


def test_score_is_bounded_by_every_attack_that_was_run() -> None:
    profile = digit_study().profile
    for name in ATTACKS:
        assert (profile["score"].values <= profile[name].values + 1e-9).all()


def test_mean_squared_error_over_the_mean_predictors_is_the_nmse() -> None:
    done = digit_study()
    mse, nmse = (done.profile[name].values for name in ("ka_mse", "ka_nmse"))
    assert mse == pytest.approx(nmse * float(done.targets.ceiling.mean()), rel=1e-4, abs=1e-9)


def test_what_the_report_needs_is_handed_over() -> None:
    done = digit_study()
    x, _ = digits(500)
    assert torch.equal(done.targets.pixels, done.samples.inputs[0])
    assert torch.equal(done.targets.pixels, x)
    learn, private = sides((x,), 0)
    assert torch.equal(done.targets.train, learn)
    assert torch.equal(done.targets.test, private)
    assert done.reconstructions["output"].shape == (8, 1, 8, 8)
    assert {"input", "output"} <= set(done.curves)
    assert done.baseline_ssim == pytest.approx(mean_image_ssim(done.targets))
    assert 0 < done.baseline_ssim < 0.9
    facts = done.profile.provenance["leakage"]
    assert (facts["samples"], facts["learnt_from"], facts["scored_on"]) == (500, len(learn), len(private))
    assert len(learn) == pytest.approx(375, abs=4 * (500 * 0.75 * 0.25) ** 0.5)
    assert facts["labels"] == "true labels"


@pytest.mark.slow
def test_same_seed_same_study_and_the_model_is_left_as_found() -> None:
    model = DigitNet().train()
    x, y = digits(16)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    generator, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second = (studied(model, x, y, seed=3).profile for _ in range(2))
    assert model.training
    assert torch.equal(torch.get_rng_state(), generator)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, True)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    for column in first:
        assert np.array_equal(column.values, second[column.name].values, equal_nan=True), column.name
    other = studied(model, x, y, seed=4, only=["fisher", "spectrum_bound"]).profile
    assert not np.array_equal(first["spectrum_bound"].values, other["spectrum_bound"].values)
    assert np.array_equal(first["fisher"].values, other["fisher"].values)  # 64 pixels: nothing is drawn


@pytest.mark.parametrize(
    "only",
    [["rc2"], ["score"], ["score_ssim"], ["in_zone"], ["rc2_drop", "in_gpz"], ["fisher"], ["linear_nmse"], ["ka_mse"]],
)
def test_only_the_columns_asked_for_are_measured(only: list[str]) -> None:
    done = studied(trained(), *digits(80), only=only)
    assert [column.name for column in done.profile] == only
    assert not np.isnan(done.profile[only[0]].values[1:-1]).all()


@pytest.mark.slow
def test_only_gives_the_same_numbers_as_everything() -> None:
    everything = digit_study().profile
    for name in ("in_zone", "rc2_ratio", "fisher"):
        alone = studied(trained(), *digits(500), only=[name]).profile[name]
        assert np.array_equal(alone.values, everything[name].values, equal_nan=True), name


def test_an_unknown_column_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AdvisorError, match=r"no leakage column 'rc3'.*Known: .*rc2"):
        studied(trained(), *digits(40), only=["rc3"])


def test_without_labels_the_models_own_predictions_stand_in() -> None:
    x, _ = digits(60)
    done = studied(trained(), x, only=["rc2"])
    assert torch.equal(done.targets.labels, trained()(x).argmax(1))
    assert done.profile.provenance["leakage"]["labels"] == "the model's own predictions"


@pytest.mark.slow
def test_images_that_are_already_normalised_leak_as_much() -> None:
    x, y = digits(240)
    normal, model = (x - 0.5) / 0.25, Denormalising(trained()).eval()
    names = ["linear_nmse", "ka_nmse", "ka_ssim", "score", "score_ssim", "in_zone"]
    given = studied(trained(), x[180:], y[180:], aux=x[:180], aux_y=y[:180], only=names)
    other = studied(model, normal[180:], y[180:], aux=normal[:180], aux_y=y[:180], only=names)
    depth = len(given.profile.cuts) - 1
    for name in names:
        ours, theirs = other.profile[name].values[-depth:], given.profile[name].values[-depth:]
        assert ours == pytest.approx(theirs, abs=0.01), name
    assert other.baseline_ssim == pytest.approx(given.baseline_ssim, abs=0.01)
    assert float(other.targets.pixels.min()) == pytest.approx(-2)


def test_two_inputs_are_attacked_together() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(200, 6, generator=generator), torch.randn(200, 2, generator=generator)
    done = studied(fixed(TwoInputs()), (a, b))
    assert torch.equal(done.targets.pixels, torch.cat([a, b], 1))
    assert done.profile["ka_nmse"].values[0] < 0.01
    assert done.profile["ka_nmse"].values[-1] > 0.4
    assert "not images" in done.profile["ka_ssim"].why[0]
    assert math.isnan(done.baseline_ssim)


@pytest.mark.slow
def test_a_model_without_classes_has_no_label_to_leak() -> None:
    x, _ = digits(80)
    profile = studied(fixed(Restorer()), x).profile
    assert np.isnan(profile["label_leak"].values).all()
    assert "one class" in profile["label_leak"].why[0]
    assert not np.isnan(profile["score"].values).any()
    assert profile["ka_nmse"].values[0] < 0.01


def test_discrete_inputs_have_nothing_to_reconstruct_and_derivatives_behind_their_embeddings() -> None:
    ids = torch.randint(20, (80, 5), generator=torch.Generator().manual_seed(0))
    done = studied(fixed(Tokens()), ids)
    for name, reason in (("ka_nmse", "discrete"), ("ka_mse", "discrete"), ("fsinfo", "discrete"), ("score", "")):
        column = done.profile[name]
        assert np.isnan(column.values).all(), name
        assert all(reason in why and why for why in column.why), name
    assert done.profile["fisher"].values[1] == pytest.approx(1.0)  # the activation are the embeddings themselves
    assert "int64" in done.profile["fisher"].why[0]
    assert not np.isnan(done.profile["label_leak"].values).all()
    assert done.zone.cuts == ()


def test_few_samples_leave_reasons_rather_than_numbers() -> None:
    profile = studied(trained(), *digits(6)).profile
    assert np.isnan(profile["ka_nmse"].values).all()
    assert all("at least 8 samples" in why for why in profile["ka_nmse"].why)
    assert not np.isnan(profile["fisher"].values).any()


def test_large_pictures_are_reconstructed_at_a_stated_size() -> None:
    x = torch.rand(20, 1, 64, 48)
    graph = trace(fixed(Restorer()), x[:2])
    targets = targets_for(graph, (x,), None, 0)
    assert targets.pixels.shape == (20, 1, 32, 24)
    assert "32, 24" in targets.note


def test_progress_grows_to_one() -> None:
    told: list[float] = []
    studied(trained(), *digits(40), only=["rc2", "fisher"], progress=lambda share, what: told.append(share))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("x", "y", "reason"), [(1, 1, "at least 2 samples, got 1"), (40, 39, "40 samples but 39 labels")]
)
def test_samples_that_do_not_fit_are_refused(x: int, y: int, reason: str) -> None:
    graph = trace(trained(), digits(2)[0])
    with pytest.raises(DataError, match=reason):
        study(graph, digits(x)[0], digits(y)[1])


def test_a_reshape_keeps_the_noise_curve_and_the_pictures_of_the_cut_before():
    with torch.random.fork_rng():
        net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 3)).eval()
    x = torch.rand(60, 1, 8, 8)
    found = study(trace(net, x[:2]), x, only=["score", "ka_nmse"])
    assert found.curves["1"] is found.curves["0"]
    assert found.reconstructions["1"] is found.reconstructions["0"]


def test_dead_rectifiers_hide_everything_and_every_column_says_what_it_could_not_measure() -> None:
    """A layer whose rectifiers never open: nothing but zeros crosses from there on."""
    model = DigitNet()
    with torch.no_grad():
        model.conv2.bias.fill_(-100.0)
    profile = studied(model.eval(), *digits(80)).profile
    dead = [cut.name for cut in profile.cuts].index("relu#2")
    for column in profile:
        for value, why in zip(column.values, column.why, strict=True):
            assert math.isnan(value) == bool(why), (column.name, why)
            assert not math.isinf(value), column.name
    assert profile["fisher"].values[dead] == 0
    assert profile["linear_nmse"].values[dead] == pytest.approx(1, abs=0.05)
    assert profile["score"].high[dead] > 0.95  # the value leaves room for what 80 samples cannot tell


def test_an_attacker_with_many_samples_leaves_a_third_of_the_pass_to_the_private_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("advisor.panel.PANEL_SAMPLES", 90)
    x, y = digits(700)
    graph = trace(trained(), x[:2])
    for private, scored in ((40, 30), (20, 20), (600, 77)):
        found = study_samples(graph, x[:private], y[:private], x[private:], y[private:])
        assert (len(found.targets.test), len(found.targets.labels)) == (scored, 90)
        own = {float(image.sum()) for image in x[private:]}
        assert all(float(image.sum()) in own for image in found.inputs[0][found.targets.train])


def test_for_one_cut_alone_more_samples_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first activation is 16 times the last: with room for 20 samples of it, 300 of the last fit."""
    net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 4))
    graph = trace(net.eval(), torch.zeros(2, 6))
    monkeypatch.setattr(panel, "PANEL_BYTES", 20 * 64 * 4)
    x, aux = torch.rand(100, 6), torch.rand(400, 6)
    few, more = (study_samples(graph, x, aux=aux, cut=cut) for cut in (None, graph.cuts[-1]))
    assert (len(few.targets.labels), len(more.targets.labels)) == (20, 320)
    assert len(more.targets.train) > 10 * len(few.targets.train)
