"""No tensor is made without its device: every family runs on a pretended one, and finds what it finds on the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import advisor
from advisor.advice import Advice
from advisor.computing import chosen_device
from advisor.data.synthetic.synthesis import synthesise
from advisor.defenses.methods import METHODS
from advisor.errors import AdvisorError
from advisor.estimators import ESTIMATORS
from advisor.estimators.attacks import ATTACKS, dci, dip, ids, mlp, pmc, rmle, shadow
from advisor.estimators.attacks.support import floors
from advisor.estimators.inversion import alignment, fast_products
from advisor.graph import PartitionGraph
from tests import pretended_device
from tests.pretended_device import MixedDevicesError, There, device, pretended


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> PartitionGraph:
    return advisor.trace(small(), torch.rand(2, 3, 8, 8))


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.nn.functional.interpolate(torch.rand(60, 3, 4, 4, generator=draw), size=8, mode="bilinear")


def test_the_pretended_device_refuses_what_is_not_there() -> None:
    with pretended() as there:
        mine, other = torch.ones(3, device=there), torch.ones(3)
        assert isinstance(mine, There)
        assert mine.device == device()
        with pytest.raises(MixedDevicesError):
            mine + other
        with pytest.raises(RuntimeError):
            mine.numpy()
        assert (mine + other.to(there)).cpu().tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", [*ESTIMATORS])
def test_estimators(graph: PartitionGraph, x: torch.Tensor, name: str) -> None:
    columns = [spec.name for spec in ESTIMATORS[name].columns]
    here = advisor.leakage(graph, x, only=columns, compute="cpu")
    with pretended():
        there = advisor.leakage(graph, x, only=columns)
    for column in columns:
        np.testing.assert_allclose(there[column].values, here[column].values, rtol=1e-4, atol=1e-6)


def test_the_quick_attack_and_what_is_received_under_noise(graph: PartitionGraph, x: torch.Tensor) -> None:
    def found() -> list[float]:
        names = ("ka_nmse", "ka_ssim")
        noisy = advisor.leakage(graph, x, only=names, cut=3, defense="gaussian:sigma=0.2")
        return [float(noisy[name].values[0]) for name in names]

    agree(found)


LONG = ("rmle", "dip", "dci", "shadow", "kmeans", "mlp", "mlp-sim", "pmc", "pmc-tuned", "unbiased")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in ATTACKS if name not in ("worst", "ids")],
)
def test_attacks(graph: PartitionGraph, x: torch.Tensor, name: str) -> None:
    """All that are one attack, on a noisy payload; `worst` runs three of them."""
    y = (x.mean((1, 2, 3)) * 1000).long() % 5

    def found() -> list[float]:
        result = advisor.attack(
            graph, 1, x[:6], x[6:], name=name, y=y[:6], aux_y=y[6:], defense="gaussian:sigma=0.1", seed=1
        )
        assert not isinstance(result.reconstructions, There)
        return [float(result.nmse), float(result.top1), float(result.reconstructions.double().sum())]

    agree(found)


@pytest.mark.slow
def test_attack_on_ids() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(12, 6), nn.Flatten(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    ids = torch.randint(12, (4, 4), generator=torch.Generator().manual_seed(1))
    text = advisor.trace(model, ids[:2])
    agree(lambda: [float(advisor.attack(text, 3, ids, name="ids").top1)])


@pytest.mark.parametrize("method", [*METHODS])
def test_fits(graph: PartitionGraph, x: torch.Tensor, method: str) -> None:
    def found() -> list[float]:
        variant = advisor.defend(graph, 3, method, x[:40], epochs=1)
        held = [*variant.parts.encoder.constants.values(), *variant.parts.cloud_weights.values()]
        assert not any(isinstance(t, There) for t in held)
        answered = float(advisor.accuracy(variant, x, defense="reparam" if method == "mid" else None))
        return [answered, *(float(t.detach().double().abs().sum()) for t in held)]

    agree(found)


def test_samples_that_are_made_up(graph: PartitionGraph) -> None:
    agree(lambda: synthesise(graph, 4, steps=3).x.flatten().tolist())


@pytest.mark.parametrize("defense", ["none", "fp16", "int8", "gaussian:sigma=0.5", "gaussian:sigma=0.5+int8"])
def test_accuracy_under_what_is_done_to_a_payload(graph: PartitionGraph, x: torch.Tensor, defense: str) -> None:
    agree(lambda: [float(advisor.accuracy(graph, x, cut=3, defense=defense))])


def test_the_floor(graph: PartitionGraph, x: torch.Tensor) -> None:
    def found() -> list[float]:
        floors._FOUND.clear()
        result = advisor.attack(graph, 1, x[:12], x[12:], defense="gaussian:sigma=0.1")
        return [float(result.nmse), float(result.floor)]

    agree(found)


@pytest.mark.parametrize("name", ["ka", "wide"])
def test_maps_that_a_decoder_enlarges(x: torch.Tensor, name: str) -> None:
    """134 channels of 5×5 cells, pictures of 8×8."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 134, 4), nn.ReLU(), nn.Flatten(), nn.Linear(134 * 25, 5)).eval()
    graph = advisor.trace(net, x[:2])
    agree(lambda: [float(advisor.attack(graph, 1, x[:12], x[12:], name=name, defense="gaussian:sigma=0.1").nmse)])


def test_the_users_model_and_random_numbers_are_left_as_they_were(x: torch.Tensor) -> None:
    model = small()
    graph, weights, state = (
        advisor.trace(model, x[:2]),
        [p.data_ptr() for p in model.parameters()],
        torch.get_rng_state(),
    )
    with pretended():
        advisor.attack(graph, 3, x[:6], x[6:30], name="wiener")
    assert [p.data_ptr() for p in model.parameters()] == weights
    assert all(p.device.type == "cpu" for p in [*model.parameters(), *model.buffers()])
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_written_since_are_taken_anew(x: torch.Tensor) -> None:
    model = small()
    graph = advisor.trace(model, x[:2])
    with pretended():
        before = float(advisor.accuracy(graph, x, torch.zeros(60, dtype=torch.long)))
        with torch.no_grad():
            model[-1].bias.copy_(torch.tensor([100.0, 0, 0, 0, 0]))
        after = float(advisor.accuracy(graph, x, torch.zeros(60, dtype=torch.long)))
    assert before < after == 1


@pytest.fixture
def meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within `pretended` whole runs mean that device, whatever they ask for."""
    usual = chosen_device.chosen
    monkeypatch.setattr(chosen_device, "chosen", lambda wanted: usual(wanted) if wanted == "cpu" else device())
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)  # it has no streams to wait for


def asked(graph: PartitionGraph, x: torch.Tensor, compute: str) -> Advice:
    return advisor.recommend(
        graph, data=(x, torch.arange(len(x)) % 5), defenses="tuned,gaussian", recipe="epochs=1", cuts="0,3",
        trials=2, device="jetson", require_split=True, compute=compute, min_nmse=0.01,
    )  # fmt: skip


@pytest.mark.slow
def test_a_whole_recommendation_with_a_fit_and_its_gate(graph: PartitionGraph, x: torch.Tensor, meant: None) -> None:
    many = torch.cat([x, x.flip(3), x.flip(2)])

    def found(compute: str) -> tuple[set[tuple[str, str]], list[float]]:
        advice = asked(graph, many, compute)
        fits = {(p.fitted.method, p.fitted.at) for p in (*advice.plans, *advice.tried) if p.fitted is not None}
        gate = advisor.check(advice, graph, (many, torch.arange(180) % 5), compute=compute, min_nmse=0.01)
        assert gate.passed, gate.failures
        return fits, advice.profile["score"].values.tolist()

    fits, scores = found("cpu")
    assert ("tuned", "3") in fits
    with pretended():
        there = found("auto")
    assert there[0] == fits
    np.testing.assert_allclose(there[1], scores, rtol=0, atol=0.06)  # networks of few samples end a little apart


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("CUDA error: unspecified launch failure\nCompile with"),
            "pretend:0 was lost: CUDA error: unspec",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "The memory of pretend:0 is too small for this model"),
    ],
)
def test_a_device_that_fails_half_way_through_a_recommendation_is_said_in_one_line(
    graph: PartitionGraph, x: torch.Tensor, meant: None, monkeypatch: pytest.MonkeyPatch, error: RuntimeError, said: str
) -> None:
    usual, left = pretended_device.computed, [6000]

    def computed(func: Any, args: Any, kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0 and func is torch.ops.aten.convolution.default:
            raise error
        return usual(func, args, kwargs)

    monkeypatch.setattr(pretended_device, "computed", computed)
    with pretended(), pytest.raises(AdvisorError, match=said) as caught:
        asked(graph, x, "auto")
    assert "\n" not in str(caught.value)


def agree(found: Callable[[], list[float]]) -> None:
    """What is found there is what is found here."""
    here = found()
    with pretended():
        there = found()
    np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-5)


@pytest.fixture(autouse=True)
def in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU multiplies as the pretended device does, and training is short."""
    monkeypatch.setattr(fast_products, "multiplies_bfloat16", lambda: False)
    monkeypatch.setitem(alignment.BUDGETS, "quick", dataclasses.replace(alignment.QUICK, steps=6, checks=2))
    monkeypatch.setattr(alignment, "QUICK", alignment.BUDGETS["quick"])
    for stepping in (dci, mlp, pmc, shadow):
        monkeypatch.setitem(stepping.STEPS, "quick", 8)
    for descending in (dip, ids, rmle):
        brief = dataclasses.replace(descending.BUDGETS["quick"], steps=6)
        monkeypatch.setitem(descending.BUDGETS, "quick", brief)


def test_a_model_that_makes_tensors_in_its_forward(x: torch.Tensor) -> None:
    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + torch.arange(8.0, device=x.device)).flatten(1) @ torch.ones(192, 3)

    graph = advisor.trace(Counting(), x[:2])
    agree(lambda: [float(v) for v in advisor.leakage(graph, x, only=["rc2"])["rc2"].values])
