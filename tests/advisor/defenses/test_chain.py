"""Chains compose in one order and are a defense themselves; defenses as text and as data."""

from __future__ import annotations

import json
import math

import pytest
import torch

from advisor.cuts import Cut, TensorSpec
from advisor.defenses import (
    Chain,
    CutFacts,
    GaussianNoise,
    NoDefense,
    Quantize8,
    as_defense,
    defense_from_json,
    defense_to_json,
    parse_defense,
)
from advisor.defenses.payload.space import Choice, Float, Int
from advisor.errors import AdvisorError

Z = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(1))
CUT = Cut(1, "here", (TensorSpec((3, 4), "float32"),))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_noise_then_rounding_whatever_the_order_given() -> None:
    chain = Chain((Quantize8(), GaussianNoise(0.5)))
    (found,) = chain.transmit((Z,), seeded())
    noisy = GaussianNoise(0.5).apply(Z, seeded())
    assert torch.equal(found, Quantize8().transmit((noisy,))[0])
    assert [member.name for member in chain.members] == ["gaussian", "int8"]


def test_what_is_sent_is_what_the_last_sends() -> None:
    chain = parse_defense("gaussian:sigma=0.5+int8")
    assert chain.wire_bytes(CUT) == Quantize8().wire_bytes(CUT)
    assert chain.wire_roles == ("codes", "low", "step")
    assert [t.dtype for t in chain.message((Z,))] == [torch.uint8, torch.float32, torch.float32]
    assert chain.random
    assert chain.exportable


def test_independent_noises_add_in_variance() -> None:
    chain = Chain((GaussianNoise(3.0), GaussianNoise(4.0)))
    assert (chain.noise, chain.guaranteed_variance) == (5.0, 25.0)
    rounded = parse_defense("gaussian:sigma=3+int8")
    step = Quantize8().noise_equivalent((Z,))
    assert rounded.noise_equivalent((Z,)) == pytest.approx(math.hypot(3.0, float(step or 0)))


def test_the_dial_of_a_chain_is_its_noise() -> None:
    more = parse_defense("gaussian:sigma=2+int8").strengthen()
    assert more is not None
    assert more.noise == pytest.approx(2.7)
    assert Chain((Quantize8(), GaussianNoise(1.0))).strengthen() is not None
    assert Quantize8().strengthen() is None


def test_text_and_data_give_the_same_chain_again() -> None:
    chain = parse_defense("gaussian:sigma=0.25 + int8")
    assert chain.spec == "gaussian:sigma=0.25,dfil=0.0+int8"
    assert parse_defense(chain.spec) == chain
    assert defense_from_json(json.loads(json.dumps(defense_to_json(chain)))) == chain
    assert str(chain) == "gaussian(sigma=0.25) + int8"
    assert as_defense("int8") == as_defense(Quantize8())
    assert as_defense(None) == NoDefense()


@pytest.mark.parametrize(
    "text", ["gaussian(sigma=0.25, dfil=3)+int8", "gaussian(sigma=0.25) + int8", "int8", "gaussian:sigma=1e+16+int8"]
)
def test_what_is_shown_of_a_defense_names_it(text: str) -> None:
    defense = parse_defense(text)
    assert parse_defense(str(defense)) == parse_defense(defense.spec) == defense


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("none+int8", "A chain needs at least two defenses.*gaussian:sigma=0.5"),
        ("int8+int8", "int8 must be the last of a chain"),
        ("gaussian:sigma=0.5+magic", "no defense 'magic'. Known: none, gaussian, fp16, int8, reparam"),
        ("gaussian:level=3", "no parameter 'level'. It has: sigma, dfil"),
        ("gaussian", "needs sigma. Write gaussian:sigma=0.5"),
        ("gaussian:sigma=a lot", "'a lot' in .* is no number"),
        ("gaussian=0.5", r"no defense 'gaussian=0.5'. Did you mean 'gaussian'\? Known: none, gaussian"),
        ("gaussian(0.5)", "no parameter '0.5'. It has: sigma, dfil"),
    ],
)
def test_what_is_no_defense_is_refused(text: str, reason: str) -> None:
    with pytest.raises(AdvisorError, match=reason):
        parse_defense(text)


def test_a_chain_inside_a_chain_is_refused_as_data() -> None:
    inner = {"name": "chain", "parameters": {"members": []}}
    with pytest.raises(ValueError, match="a list of defenses that are no chains"):
        defense_from_json({"name": "chain", "parameters": {"members": [inner, inner]}})


class Recorder:
    """A trial that says what it was asked."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return (low * high) ** 0.5 if log else (low + high) / 2

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return high

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        return choices[-1]


def test_a_space_asks_a_trial_and_knows_what_it_holds() -> None:
    trial = Recorder()
    assert Float(0.1, 1000.0, log=True).suggest(trial, "dfil") == pytest.approx(10.0)
    assert Int(2, 8).suggest(trial, "bits") == 8
    assert Choice(("a", "b")).suggest(trial, "kind") == "b"
    assert Float(0, 1).contains(0.5)
    assert not Float(0, 1).contains(math.nan)
    assert not Int(0, 4).contains(2.5)
    assert Choice(("a",)).contains("a")
    with pytest.raises(AdvisorError, match="makes no sense"):
        Float(0.0, 1.0, log=True)
    with pytest.raises(AdvisorError, match="at least one option"):
        Choice(())


def test_noise_is_set_up_from_what_is_known_of_the_cut() -> None:
    facts = CutFacts(CUT, fisher=8.0)
    made = GaussianNoise.at(facts, dfil=2.0)
    assert made == GaussianNoise(2.0, 2.0)
    assert GaussianNoise.values_for_noise(facts, 2.0) == {"dfil": 2.0}
    assert GaussianNoise.at(CutFacts(CUT), dfil=2.0) is None
    assert Quantize8.initial_trials(facts) == ({},)
    assert GaussianNoise.initial_trials(facts) == ()
