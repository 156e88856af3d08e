"""The leakage of what is sent: the bare activation's columns where nothing is done, the defended one's where it is."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from advisor import panel
from advisor.defenses import GaussianNoise
from advisor.errors import AdvisorError
from advisor.estimators.noise import NoiseCurve
from advisor.estimators.study.leakage_study import LeakageStudy, study
from advisor.estimators.study.payload_leakage import payload_leakage
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.tracing.tracer import trace
from tests.estimators.nets import digits, trained

COLUMNS = ("linear_nmse", "kernel_nmse", "rc2", "dcor", "fisher", "mse_bound", "linear_gain")


@functools.cache
def graph() -> PartitionGraph:
    return trace(trained(), digits(2)[0])


@functools.cache
def whole() -> LeakageStudy:
    return study(graph(), *digits(300), only=COLUMNS)


def test_without_a_defense_it_is_the_row_of_the_study() -> None:
    found = payload_leakage(Payload.of(graph(), "conv2"), *digits(300), only=COLUMNS)
    assert [cut.name for cut in found.cuts] == ["conv2"]
    for name in COLUMNS:
        row = whole().profile[name].at(graph().cut("conv2"))
        assert found[name].at(0).value == pytest.approx(row.value, rel=1e-4), name


def test_noise_as_measured_is_noise_as_the_curve_prices_it() -> None:
    """An oracle for the shortcut: linear inversion of what is really sent, against the closed form of the curve.

    The curve is of an attacker that sees every draw of the noise; one that saw one draw a sample does a little worse.
    """
    curve: NoiseCurve = study(graph(), *digits(600), only=("linear_nmse", "linear_gain")).curves["conv2"]
    for sigma in (0.5, 2.0):
        sent = Payload.of(graph(), "conv2", GaussianNoise(sigma))
        measured = payload_leakage(sent, *digits(600), only=("linear_nmse",))["linear_nmse"].at(0)
        noisy = float(np.interp(np.log(sigma), np.log(curve.sigma), curve.nmse))
        assert -2 * measured.stderr < measured.value - noisy < 0.1


def test_bounds_are_at_the_variance_of_the_noise() -> None:
    sigma = 0.5
    found = payload_leakage(
        Payload.of(graph(), "conv2", GaussianNoise(sigma)), *digits(300), only=("fisher", "mse_bound")
    )
    fisher = found["fisher"].at(0).value
    assert found["mse_bound"].at(0).value == pytest.approx(1 / (fisher / sigma**2 + 100), rel=1e-4)
    assert found.provenance["leakage"]["payload"].startswith("conv2 + gaussian(sigma=0.5")


def test_rounding_leaks_as_much_as_the_bare_activation() -> None:
    found = payload_leakage(Payload.of(graph(), "conv2", "int8"), *digits(300), only=("linear_nmse",))
    assert found["linear_nmse"].at(0).value == pytest.approx(
        whole().profile["linear_nmse"].at(graph().cut("conv2")).value, abs=0.02
    )


def test_the_quick_attack_learns_through_the_defense() -> None:
    bare, noisy = (
        payload_leakage(Payload.of(graph(), "conv2", defense), *digits(240), only=("score", "ka_nmse"))
        for defense in (None, GaussianNoise(3.0))
    )
    assert noisy["ka_nmse"].at(0).value > bare["ka_nmse"].at(0).value + 0.2
    assert noisy["score"].at(0).value > bare["score"].at(0).value


@pytest.mark.parametrize("name", ["in_zone", "rc2_drop", "in_gpz"])
def test_columns_of_a_whole_model_are_refused(name: str) -> None:
    with pytest.raises(AdvisorError, match="is of a whole model, not of one payload"):
        payload_leakage(Payload.of(graph(), "conv2"), *digits(100), only=(name,))


def test_the_model_is_left_as_found() -> None:
    state = torch.get_rng_state()
    payload_leakage(Payload.of(graph(), "conv2", GaussianNoise(1.0)), *digits(60), only=("linear_nmse",))
    assert torch.equal(torch.get_rng_state(), state)


def test_one_payload_is_measured_with_all_samples_that_fit_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first activation is 16 times the last: with room for 20 samples of it, 300 of the last fit."""
    net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 4))
    graph = trace(net.eval(), torch.zeros(2, 6))
    monkeypatch.setattr(panel, "PANEL_BYTES", 20 * 64 * 4)
    x = torch.rand(200, 6)
    wide, narrow = (payload_leakage(Payload.of(graph, place, None), x, only=["linear_nmse"]) for place in (1, 3))
    assert (wide.provenance["leakage"]["samples"], narrow.provenance["leakage"]["samples"]) == (20, 200)
