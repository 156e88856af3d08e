"""Variants as files: encoder and decoder inside the halves, attacked once more as they were written."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor import wire
from advisor.data.roles import SHARES_TRAINED, drawn, hashes
from advisor.data.samples import Samples
from advisor.defenses import Defense, parse_defense
from advisor.exporting.source import unseen
from advisor.fitted import FittedDefense
from advisor.plans import Plan
from advisor.request import Request
from advisor.testing import made_up_advices
from advisor.variant import Variant, variant_of
from tests.conftest import attacks_shortened
from tests.estimators.nets import digits, trained

DEFENSES = ["none", "gaussian:sigma=0.4", "gaussian:sigma=0.4+int8"]


@functools.cache
def fitted() -> Variant:
    """A bottleneck of four channels, hardly trained."""
    graph = advisor.trace(trained(), digits(2)[0])
    return advisor.defend(graph, "conv2", "bottleneck", digits(64)[0], width=4, epochs=1)


def plan_of(variant: Variant, defense: Defense) -> Plan:
    return Plan((variant.payload,), defense, {}, inputs=variant.inputs, graph=variant)


@pytest.mark.parametrize("format", ["pt2", "onnx"])
@pytest.mark.parametrize("text", DEFENSES)
def test_encoder_and_decoder_are_inside_the_halves(text: str, format: Literal["pt2", "onnx"], tmp_path: Path) -> None:
    variant, defense = fitted(), parse_defense(text)
    made = advisor.export(plan_of(variant, defense), tmp_path, format)
    assert made.cuts == (variant.payload.name,)
    assert made.crossings[0].tensors[0].shape == variant.payload.tensors[0].shape
    edge, cloud = advisor.runtime.Edge(tmp_path), advisor.runtime.Cloud(tmp_path)
    for batch in (1, 5):
        x = digits(batch)[0]
        message = edge.send(x.numpy() if format == "onnx" else x)
        assert batch > 1 or len(message) == made.crossings[0].message_bytes == defense.message_bytes(variant.payload)
        answer = torch.as_tensor(cloud.receive(message))
        assert answer.shape == (batch, 10)
        if not defense.random:
            assert torch.allclose(answer, variant(x), atol=1e-4)


def test_the_written_edge_is_attacked_once_more(tmp_path: Path) -> None:
    """By the same attack as the plan, with another draw of the noise: alike within its spread."""
    variant, defense = fitted(), parse_defense("gaussian:sigma=0.4")
    x = digits(160)[0]
    with attacks_shortened():
        made = advisor.export(plan_of(variant, defense), tmp_path, data=(x, None))
        meant = advisor.attack(variant, variant.payload, x, defense=defense).nmse
    assert made.attacked is not None
    assert (made.attacked.skipped, made.attacked.attack, made.attacked.budget) == ("", "ka", "quick")
    assert 30 <= made.attacked.samples <= 70
    found = made.attacked.scores["nmse"]
    assert abs(found.value - meant.value) < 3 * (found.stderr + meant.stderr) + 0.05
    assert advisor.load_export(tmp_path).attacked == made.attacked


def test_without_samples_it_is_said_that_nothing_was_attacked(tmp_path: Path) -> None:
    made = advisor.export(plan_of(fitted(), parse_defense("none")), tmp_path)
    assert made.attacked is not None
    assert made.attacked.skipped == "no samples were given"
    assert made.attacked.scores == {}


class Parameters(nn.Module):
    """Mean and log deviation of three channels: what a method that draws returns."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.log = nn.Conv2d(16, 3, 1), nn.Conv2d(16, 3, 1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(z), self.log(z)


class Decoded(nn.Module):
    """Reads the mean alone."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Conv2d(3, 16, 1)

    def forward(self, mean: Tensor, log: Tensor) -> Tensor:
        return self.up(mean) + 0 * log.sum(1, keepdim=True)


@pytest.mark.parametrize("text", ["reparam", "reparam+int8"])
def test_of_a_payload_of_parameters_only_the_draw_is_sent(text: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = advisor.trace(trained(), digits(2)[0])
    variant, defense = variant_of(base, "conv2", Parameters().eval(), Decoded().eval()), parse_defense(text)
    plan = plan_of(variant, defense)
    edge, cloud = plan.split()
    message = wire.pack(edge(digits(1)[0]))
    assert cloud(*wire.unpack_torch(message)).shape == (1, 10)
    assert cloud(edge(digits(3)[0])).shape == (3, 10)
    made = advisor.export(plan, tmp_path)
    assert made.crossings[0].tensors[0].shape == variant.payload.tensors[0].shape
    assert len(made.crossings[0].tensors) == len(defense.wire_roles)
    assert len(message) == made.crossings[0].message_bytes == defense.message_bytes(variant.payload)
    assert made.noise is not None
    assert made.freshness is not None
    answer = advisor.runtime.Cloud(tmp_path).receive(advisor.runtime.Edge(tmp_path).send(digits(4)[0]))
    assert answer.shape == (4, 10)


def test_the_written_edge_is_attacked_on_samples_that_its_defense_was_not_fitted_to() -> None:
    x = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    data, advice = Samples(x, None, "made up", "0"), made_up_advices.digits()
    told = FittedDefense("0" * 64, "ridge", "block2", {}, 1.0)
    plan = dataclasses.replace(advice.best, fitted=told)
    seeded = dataclasses.replace(advice, provenance={**advice.provenance, "seed": 3})
    roles = drawn(data, 3, SHARES_TRAINED)
    left = unseen(data, seeded, plan)
    assert isinstance(left, Samples)
    assert set(hashes(left)).isdisjoint(hashes(roles["training"]))
    assert len(left) + len(roles["training"]) == len(data)
    assert unseen(data, seeded, advice.best) is data
    apart = Request.of(model="torchvision:resnet18", data="digits", train_data="train.npz")
    assert len(unseen(data, dataclasses.replace(seeded, request=apart), plan)) == len(data)
