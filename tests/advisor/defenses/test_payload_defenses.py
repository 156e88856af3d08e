"""The contract that every defense inherits, and the closed forms of each."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import advisor
from advisor.cuts import Cut
from advisor.defenses import (
    DEFENSES,
    SETS,
    Defense,
    GaussianNoise,
    NoDefense,
    Quantize8,
    defense_from_json,
    defense_names,
    defense_to_json,
    parse_defense,
)
from advisor.defenses.by_name import TRAINED
from advisor.defenses.methods import METHODS
from advisor.defenses.payload.base import Stage
from advisor.defenses.payload.half_precision import HalfPrecision
from advisor.defenses.payload.reparam import Reparam
from advisor.defenses.payload.rounding import rounding_step
from advisor.defenses.payload.space import Float
from advisor.derivatives.tangents import tangent_energies
from advisor.errors import AdvisorError, CutError
from advisor.estimators.study.leakage_study import study
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.searching.rounds import Search
from advisor.profilers import device, link
from advisor.requirements import Budgets
from advisor.testing.defense_contract import DefenseContract
from advisor.testing.small_models import digits, fixed, trained
from advisor.variant import Variant, variant_of
from tests.advisor.samples_by_role import by_role
from tests.advisor.test_variant import FromMean, Statistics
from tests.models import ZOO, traced

MEMBERS = [NoDefense(), GaussianNoise(0.5, 3.0), HalfPrecision(), Quantize8()]
SHAPES = [(5, 7), (5, 3, 4, 4), (1, 2, 6), (4,)]


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def tensors(wire: Any) -> tuple[Tensor, ...]:
    return wire if isinstance(wire, tuple) else (wire,)


# ---- the contract -----------------------------------------------------------------------------------------------


def test_every_member_is_here() -> None:
    assert {type(member) for member in (*MEMBERS, Reparam())} == set(DEFENSES.values())


class TestContract(DefenseContract):
    @pytest.fixture(params=MEMBERS, ids=str)
    def member(self, request: pytest.FixtureRequest) -> Defense:
        return request.param


class TestDrawing(DefenseContract):
    """Of a payload that holds mean and log σ."""

    @pytest.fixture
    def member(self) -> Defense:
        return Reparam()

    def activation(self, z: Tensor) -> tuple[Tensor, ...]:
        return z, z * 0 - 1

    def payload(self, member: Defense) -> Payload:
        return Payload.of(statistics(), statistics().payload, member)


def test_what_is_drawn_has_the_mean_and_spread_that_the_payload_says() -> None:
    mean, spread = torch.full((4, 50_000), 3.0), torch.full((4, 50_000), math.log(0.5))
    (sent,) = Reparam().send((mean, spread), torch.Generator().manual_seed(0))
    assert float(sent.mean()) == pytest.approx(3, abs=0.01)
    assert float(sent.std()) == pytest.approx(0.5, rel=0.01)
    received = Reparam().receive((sent,), [torch.float32] * 2)
    assert torch.equal(received[0], sent)
    assert not received[1].any()


def test_only_what_was_drawn_is_sent_and_halves_say_so() -> None:
    payload = Payload.of(statistics(), statistics().payload, "reparam+int8")
    assert payload.defense.wire_bytes(payload.cut) == 2 * 16 + 8
    edge, cloud = Payload.of(statistics(), statistics().payload, "reparam").halves()
    x, _ = digits(3)
    (sent,) = edge(x)
    assert sent.shape == (3, 2, 4, 4)
    assert not torch.equal(sent, edge(x)[0])
    assert cloud((sent,)).shape == (3, 10)


def test_a_payload_without_mean_and_spread_is_refused() -> None:
    with pytest.raises(CutError, match="reparam does not fit the payload at 'conv1': it draws from pairs"):
        Payload.of(traced_digits(), "conv1", "reparam")
    with pytest.raises(AdvisorError, match="Two defenses of a chain draw"):
        parse_defense("reparam+reparam")


@functools.cache
def traced_digits() -> PartitionGraph:
    return advisor.trace(trained(), digits(2)[0])


@functools.cache
def statistics() -> Variant:
    return variant_of(traced_digits(), "conv2", fixed(Statistics()), fixed(FromMean()))


def test_the_name_of_a_method_says_that_it_has_to_be_fitted() -> None:
    assert set(TRAINED) == set(METHODS)
    with pytest.raises(AdvisorError, match=r"'ridge' has to be fitted first. Make a variant with advisor.defend"):
        parse_defense("ridge")


@dataclasses.dataclass(frozen=True)
class Sign(Defense):
    """A made-up defense: sends the sign of each element, one byte each."""

    scale: float = 1.0
    name: ClassVar[str] = "sign"
    stage: ClassVar[Stage] = "quantise"
    space: ClassVar[Mapping[str, Float]] = {"scale": Float(0.5, 2.0)}

    def apply(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return z.sign().to(torch.int8)

    def restore(self, wire: Tensor) -> Tensor:
        return self.scale * wire.float()

    def wire_bytes(self, cut: Cut) -> int:
        return sum(spec.elements for spec in cut.tensors)


class TestMadeUp(DefenseContract):
    @pytest.fixture
    def member(self) -> Defense:
        return Sign(0.5)


@pytest.mark.slow
def test_a_made_up_defense_is_one_entry_and_its_leakage_is_measured_on_what_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No noise curve prices a sign: the search measures what is sent, and finds that it hides something."""
    monkeypatch.setitem(DEFENSES.built_in, "sign", f"{__name__}:Sign")
    (x, y), graph = digits(150), advisor.trace(trained(), digits(2)[0])
    found = study(graph, x, y, only=["score", "score_ssim"])
    profile = advisor.profile(graph).joined(found.profile)
    evaluator = PlanEvaluator(graph, profile, found, by_role(x, y), device("jetson"), link("wifi"), 0)
    search = Search(evaluator, Budgets(), LeakageLimits(None, None, asked=False), ("none", "sign"), 2, math.inf, "", 0)
    tried = [plan for plan in search.run().plans if plan.defense.name == "sign"]
    assert len(tried) == 2
    for plan in tried:
        assert plan.predicted["bytes"].value == plan.cut.elements + plan.cut.message_bytes - plan.cut.bytes
        assert "survives the defense's noise" not in plan.predicted["score"].method
        assert profile["score"].at(plan.cut).high < plan.predicted["score"].high <= 1
    assert str(parse_defense("gaussian:sigma=1+sign:scale=0.5")) == "gaussian(sigma=1) + sign(scale=0.5)"


@pytest.mark.parametrize("defense", MEMBERS, ids=str)
def test_members_are_frozen_and_hashable(defense: Defense) -> None:
    assert hash(defense) == hash(defense_from_json(defense_to_json(defense)))
    for name in defense.parameters:
        with pytest.raises(AttributeError, match="cannot assign to field"):
            setattr(defense, name, 1.0)


# ---- each on its own ------------------------------------------------------------------------------------------------


def test_no_defense_sends_what_it_got() -> None:
    z = random(3, 4)
    assert NoDefense().apply(z) is z


def test_noise_has_the_variance_it_says() -> None:
    z = torch.zeros(4, 50_000)
    sent = GaussianNoise(0.7).apply(z, torch.Generator().manual_seed(0))
    assert float(sent.var()) == pytest.approx(0.49, rel=0.02)
    assert float(sent.mean()) == pytest.approx(0.0, abs=0.01)
    assert abs(float((sent[0] * sent[1]).mean())) < 0.01, "samples share their noise"


def test_noise_is_fresh_at_each_call() -> None:
    z = torch.zeros(2, 3)
    assert not torch.equal(GaussianNoise(1.0).apply(z), GaussianNoise(1.0).apply(z))


@pytest.mark.parametrize("wanted", [0.1, 5.0, 300.0])
def test_noise_for_a_dfil_gives_that_dfil(wanted: float) -> None:
    """dFIL of z + N(0, σ²) is Tr(JᵀJ) / (d σ²) (Maeng et al. 2022, equation 4); exact trace of a linear edge."""
    graph, cut = traced("dense"), traced("dense").cut("cat")
    jacobian = torch.func.jacfwd(graph.split(cut)[0])(torch.zeros(1, 6)).reshape(-1, 6)
    fisher = float(jacobian.double().square().sum()) / 6
    noise = GaussianNoise.for_dfil(fisher, wanted)
    information = jacobian.T @ jacobian / noise.sigma**2
    assert float(information.diagonal().mean()) == pytest.approx(wanted, rel=1e-5)
    assert noise.dfil == wanted
    energy = tangent_energies(graph, (ZOO["dense"].inputs(2),), probes=4000, seed=0)[cut.index]
    assert float(energy.energy.mean()) / energy.elements / noise.sigma**2 == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("sigma", [-1.0, math.nan, math.inf, "1"])
def test_senseless_noise_is_refused(sigma: Any) -> None:
    with pytest.raises(AdvisorError, match=r"sigma=.* makes no sense\. Pass a number, 0 or more"):
        GaussianNoise(sigma)


@pytest.mark.parametrize(
    ("fisher", "dfil", "message"),
    [
        (math.nan, 1.0, "Fisher information was not measured"),
        (math.inf, 1.0, "was not measured"),
        (1.0, 0.0, r"dFIL of 0\.0 cannot be reached"),
        (1.0, math.nan, "dFIL of nan cannot be reached"),
    ],
)
def test_noise_for_no_dfil(fisher: float, dfil: float, message: str) -> None:
    with pytest.raises(AdvisorError, match=message):
        GaussianNoise.for_dfil(fisher, dfil)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_quantisation_errs_by_half_a_step(scale: float) -> None:
    z = random(6, 3, 5) * scale + 2 * scale
    codes, low, step = Quantize8().apply(z)
    assert codes.dtype == torch.uint8
    assert low.shape == step.shape == (6, 1, 1)
    error = (Quantize8().restore((codes, low, step)) - z).abs()
    assert bool((error <= step / 2 + 4 * torch.finfo(torch.float32).eps * z.abs()).all())
    own = (z.flatten(1).amax(1) - z.flatten(1).amin(1)) / 255
    assert torch.allclose(step.flatten(), own)
    assert Quantize8().wire_step(z) == pytest.approx(float(own.double().square().mean().sqrt()), rel=1e-5)


def test_quantisation_uses_the_whole_range() -> None:
    codes, _, _ = Quantize8().apply(random(6, 40))
    assert codes.flatten(1).amin(1).tolist() == [0] * 6
    assert codes.flatten(1).amax(1).tolist() == [255] * 6


def test_a_constant_sample_is_sent_exactly() -> None:
    z = torch.full((2, 5), 3.25)
    assert torch.equal(Quantize8().restore(Quantize8().apply(z)), z)


def test_infinities_spoil_their_own_sample_only() -> None:
    z = random(3, 4)
    z[1, 2] = math.inf
    restored = Quantize8().restore(Quantize8().apply(z))
    assert torch.isfinite(restored[[0, 2]]).all()
    assert not torch.isfinite(restored[1]).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_wire_s_own_rounding_is_the_spacing_of_its_floats(dtype: torch.dtype) -> None:
    """Spacing at 1.0 is eps, by definition; root mean square over values."""
    assert rounding_step(torch.ones(4, dtype=dtype)) == torch.finfo(dtype).eps
    z = torch.tensor([3.0, 4.0], dtype=dtype)
    assert rounding_step(z) == pytest.approx(torch.finfo(dtype).eps * math.sqrt(12.5))


def test_a_complex_number_is_sent_as_two_floats() -> None:
    z = torch.tensor([3.0, 4.0])
    assert rounding_step(torch.complex(z, 2 * z).conj()) == pytest.approx(rounding_step(torch.cat([z, 2 * z])))


def test_integers_are_sent_in_steps_of_one() -> None:
    assert rounding_step(torch.tensor([3, 4])) == 1.0


# ---- names ----------------------------------------------------------------------------------------------------------


def test_sets_expand_and_lists_are_taken() -> None:
    assert defense_names("free") == SETS["free"] == ("none", "gaussian", "int8")
    assert defense_names("int8, none") == ("int8", "none")


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(
        AdvisorError, match=r"no defense 'int4'\. Did you mean 'int8'\? Known: none, free, gaussian, fp16, int8"
    ):
        defense_names("none,int4")


def test_text_says_the_parameters() -> None:
    assert str(GaussianNoise(0.25, 4.0)) == "gaussian(sigma=0.25, dfil=4)"
    assert str(NoDefense()) == "none"
