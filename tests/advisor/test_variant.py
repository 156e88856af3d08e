"""Variants: exact to their definition, a graph like any other, priced as their base plus what is added."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.errors import CutError
from advisor.graph import PartitionGraph
from advisor.variant import Variant, variant_of
from tests.estimators.nets import DigitNet, digits, fixed, trained
from tests.models import ZOO, call, equal, traced

CUT = "conv2"


@functools.cache
def base() -> PartitionGraph:
    return advisor.trace(trained(), digits(2)[0])


class Squeeze(nn.Module):
    """Sixteen channels to four and back."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)


class Down(Squeeze):
    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.down(z))


class Up(Squeeze):
    def forward(self, sent: Tensor) -> Tensor:
        return self.up(sent)


def squeezed(graph: PartitionGraph | None = None) -> tuple[Variant, nn.Module, nn.Module]:
    down, up = fixed(Down()), fixed(Up())
    return variant_of(graph or base(), CUT, down, up, {"width": 4}), down, up


def test_a_variant_computes_decoder_of_encoder_in_the_place_of_the_activation() -> None:
    variant, down, up = squeezed()
    x, _ = digits(7)
    edge, cloud = base().split(CUT)
    assert torch.equal(variant(x), cloud(up(down(edge(x)))))
    assert isinstance(variant, PartitionGraph)
    assert variant.base is base()
    assert variant.recipe == {"width": 4}


def test_its_payload_is_a_cut_and_its_halves_are_exact() -> None:
    variant, down, _ = squeezed()
    x, _ = digits(5)
    assert variant.payload.name == f"{CUT}/payload"
    assert variant.payload.tensors[0].shape == (4, 4, 4)
    edge, cloud = variant.split(variant.payload)
    assert torch.equal(edge(x), down(base().split(CUT)[0](x)))
    assert torch.equal(cloud(edge(x)), variant(x))
    for cut in variant.cuts[:-1]:
        first, second = variant.split(cut)
        assert torch.equal(second(first(x)), variant(x)), cut.name


def test_the_cuts_of_the_base_keep_their_names_and_the_new_ones_say_what_they_are() -> None:
    variant, _, _ = squeezed()
    names, own = [cut.name for cut in variant.cuts], [cut.name for cut in base().cuts]
    assert [name for name in names if name in own] == own
    assert all(name.startswith(f"{CUT}/") for name in set(names) - set(own))
    assert variant.digest != base().digest
    assert squeezed()[0].digest == variant.digest
    assert {cut.graph for cut in variant.cuts} == {variant.digest}


def test_weights_of_the_base_are_shared_and_those_added_are_counted() -> None:
    variant, down, up = squeezed()
    added = sum(p.numel() for p in (*down.down.parameters(), *up.up.parameters()))
    last = advisor.profile(variant)["params"].values[-1]
    assert last == advisor.profile(base())["params"].values[-1] + added
    held = set(map(id, variant.edge_parameters("output").values()))
    assert set(map(id, base().edge_parameters("output").values())) <= held


def test_a_module_that_returns_what_it_got_still_makes_a_payload() -> None:
    variant = variant_of(base(), CUT, nn.Identity(), nn.Identity())
    x, _ = digits(4)
    assert torch.equal(variant(x), base()(x))
    assert variant.payload.tensors == base().cut(CUT).tensors


class Upsampled(Squeeze):
    def forward(self, sent: Tensor) -> Tensor:
        return nn.functional.interpolate(self.up(sent), size=(4, 4), mode="nearest")


def test_no_operation_of_a_decoder_freezes_the_batch_of_the_base() -> None:
    graph = advisor.trace(trained(), digits(2)[0])
    variant = variant_of(graph, CUT, fixed(Down()), fixed(Upsampled()))
    assert all(graph.spec(node) is not None for nodes in graph.activation_nodes for node in nodes)
    assert all(variant.spec(node) is not None for nodes in variant.activation_nodes for node in nodes)
    assert variant(digits(5)[0]).shape == (5, 10)


class Statistics(nn.Module):
    """A method that draws by itself returns what it draws from."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.spread = nn.Conv2d(16, 2, 1), nn.Conv2d(16, 2, 1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(z), self.spread(z)


class FromMean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Conv2d(2, 16, 1)

    def forward(self, mean: Tensor, spread: Tensor) -> Tensor:
        return self.up(mean) + 0 * spread.mean(1, keepdim=True)


def test_a_payload_of_two_tensors_is_one_cut() -> None:
    variant = variant_of(base(), CUT, fixed(Statistics()), fixed(FromMean()))
    x, _ = digits(4)
    assert [spec.shape for spec in variant.payload.tensors] == [(2, 4, 4)] * 2
    edge, cloud = variant.split(variant.payload)
    assert torch.equal(cloud(edge(x)), variant(x))


class Same(nn.Module):
    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors


@pytest.mark.parametrize("name", ["residual", "dense", "tokens", "recurrent", "attention", "hard_batch", "two_inputs"])
def test_at_every_cut_of_the_zoo_an_identity_changes_nothing(name: str) -> None:
    graph = traced(name)
    x = ZOO[name].inputs(graph.fixed_batch or 3)
    tried = 0
    for cut in graph.cuts[:-1]:
        if not all(spec.is_floating for spec in cut.tensors):
            continue
        tried += 1
        variant = variant_of(graph, cut, Same(), Same())
        assert equal(variant(x), call(ZOO[name].model(), x)), cut.name
        edge, cloud = variant.split(variant.payload)
        assert equal(cloud(call(edge, x)), variant(x)), cut.name
    assert tried


@pytest.mark.parametrize(
    ("cut", "decoder", "reason"),
    [
        ("output", nn.Identity(), "After the output nothing is sent"),
        (CUT, nn.Flatten(), "The decoder returns .*which is not the activation at 'conv2'"),
    ],
)
def test_what_does_not_fit_is_refused(cut: str, decoder: nn.Module, reason: str) -> None:
    with pytest.raises(CutError, match=reason):
        variant_of(base(), cut, nn.Identity(), decoder)


def test_a_variant_of_a_variant_and_integers_are_refused() -> None:
    variant, _, _ = squeezed()
    with pytest.raises(CutError, match="A variant of a variant is not supported"):
        variant_of(variant, variant.payload, nn.Identity(), nn.Identity())
    with pytest.raises(CutError, match="there is nothing to encode"):
        variant_of(traced("tokens"), "input", nn.Identity(), nn.Identity())


# ---- what it costs ----------------------------------------------------------------------------------------------


def test_the_same_layers_cost_the_same_time_in_base_and_variant() -> None:
    variant, _, _ = squeezed()
    cost, bare = advisor.profile(variant), advisor.profile(base())

    def same(name: str, cut: str) -> bool:
        first, second = cost[name].at(variant.cut(cut)), bare[name].at(base().cut(cut))
        return (first.value, first.low, first.high) == (second.value, second.low, second.high)

    assert same("edge_latency", "relu")
    assert same("cloud_latency", "squeeze")
    after = variant.cut("squeeze")
    assert cost["edge_latency"].at(after).value > bare["edge_latency"].at(base().cut("squeeze")).value
    assert "encoder and decoder" in cost["edge_latency"].at(after).method


@pytest.mark.parametrize("where", ["base", "encoder"])
def test_times_of_a_variant_are_lower_bounds_where_nobody_counts_a_part(where: str) -> None:
    class Spectrum(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft(z, n=2 * z.shape[-1] - 1).abs()

    torch.manual_seed(0)
    middle: nn.Module = Spectrum() if where == "base" else nn.ReLU()
    graph = advisor.trace(nn.Sequential(nn.Linear(6, 6), middle, nn.Linear(6, 2)).eval(), torch.rand(2, 6))
    encoder: nn.Module = Spectrum() if where == "encoder" else nn.Linear(6, 6)
    made = variant_of(graph, "0", fixed(encoder), fixed(nn.Linear(6, 6)), {})
    for name in ("edge_latency", "latency", "throughput"):
        assert advisor.profile(graph)[name].source == ("bounded" if where == "base" else "estimated")
        assert advisor.profile(made)[name].source == "bounded", name


def test_halves_of_a_variant_sum_to_its_whole_on_one_machine() -> None:
    from advisor.profilers import device, link
    from advisor.profilers.support.context import ProfilingContext

    variant, _, _ = squeezed()
    machine = device("jetson")
    times = ProfilingContext(variant, machine, link("wifi"), machine).on_device
    whole = times.whole.value
    known = [i for i, cut in enumerate(variant.cuts) if cut.name in {c.name for c in base().cuts}]
    bare = ProfilingContext(base(), machine, link("wifi"), machine).on_device
    gap = bare.edge[2].value + bare.cloud[2].value - bare.whole.value  # of the estimate itself
    for i in known:
        assert times.edge[i].value + times.cloud[i].value == pytest.approx(whole + gap, rel=0.02)


def test_a_profile_of_the_base_refuses_a_cut_of_the_variant() -> None:
    variant, _, _ = squeezed()
    bare = advisor.profile(base())
    with pytest.raises(CutError, match="no cut 'conv2/payload'"):
        bare["latency"].at(variant.payload)
    with pytest.raises(CutError, match="of another graph"):
        bare["latency"].at(variant.cut("squeeze"))


def test_what_is_added_is_estimated_at_the_rate_of_a_timed_base() -> None:
    from advisor.estimate import Estimate
    from advisor.profilers.halves.added_latency import at_rate_of
    from advisor.profilers.published.features import Work

    seconds = at_rate_of(Estimate(0.5, 0.0, 0.4, 0.6, "s"), Work(macs=100.0))
    found = seconds(Work(macs=10.0))
    assert (found.value, found.source) == (pytest.approx(0.05), "estimated")
    assert found.low < found.value < found.high
    missing = at_rate_of(Estimate(0.5, unit="s"), Work())(Work(macs=1.0))
    assert missing.value != missing.value
    assert "no multiply-adds" in missing.method


def test_a_fresh_net_of_the_same_layers_is_another_base() -> None:
    other = advisor.trace(fixed(DigitNet()), digits(2)[0])
    assert variant_of(other, CUT, nn.Identity(), nn.Identity()).digest != squeezed()[0].digest
