"""Tangents at every cut against torch.func.jvp, exact Jacobians and closed forms; where there are none, why."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import export
from torch.utils import _pytree as pytree
from torch.utils._pytree import tree_map_only

from advisor.derivatives.tangents import TangentEnergy, tangent_energies, walk
from advisor.graph import PartitionGraph
from advisor.support.preserve import math_attention, plain_attention, without_mkldnn
from advisor.tracing.tracer import trace
from tests.models import ZOO, traced

NAMES = list(ZOO)
SMOOTH = [name for name in NAMES if not ZOO[name].broken]
TOLERANCE = {torch.float16: 5e-3, torch.bfloat16: 5e-2, torch.float64: 1e-12}


def flat_edge(graph: PartitionGraph, cut: int, number: int) -> Any:
    """The edge half as a function of flat inputs to one activation."""
    edge = graph.split(cut)[0]

    def function(*flat: Tensor) -> Tensor:
        args, kwargs = pytree.tree_unflatten(list(flat), graph.in_spec)
        crossing = edge(*args, **kwargs)
        return crossing[number] if isinstance(crossing, tuple) else crossing

    return function


def walked(graph: PartitionGraph, x: tuple[Tensor, ...], directions: tuple[Tensor, ...]) -> dict[Any, Any]:
    seen = {}
    with torch.no_grad(), math_attention():
        walk(graph, x, directions, lambda node, *rest: seen.__setitem__(node, tree_map_only(Tensor, torch.clone, rest)))
    return seen


@pytest.mark.parametrize("name", SMOOTH)
def test_tangents_are_those_of_torch(name: str) -> None:
    graph, x = traced(name), traced(name).flat(ZOO[name].inputs(3))
    generator = torch.Generator().manual_seed(5)
    directions = tuple(torch.randn(2, *t.shape, generator=generator).to(t.dtype) for t in x)
    seen = walked(graph, x, directions)
    for cut, nodes in zip(graph.cuts, graph.activation_nodes, strict=True):
        for number, node in enumerate(nodes):
            _, tangent, problem = seen[node]
            assert problem == ""
            for k in range(2):
                with math_attention(), without_mkldnn():
                    function = flat_edge(graph, cut.index, number)
                    expected = torch.func.jvp(function, x, tuple(v[k] for v in directions))[1]
                close = TOLERANCE.get(expected.dtype, 1e-5)
                assert torch.allclose(tangent[k], expected, rtol=close, atol=close * float(expected.abs().max()))


@pytest.mark.parametrize("name", [name for name in NAMES if ZOO[name].broken])
def test_where_forward_mode_ends_the_operator_is_named(name: str) -> None:
    graph = traced(name)
    energies = tangent_energies(graph, graph.flat(ZOO[name].inputs(3)), probes=2, seed=0)
    problems = [energies[cut.index].problem for cut in graph.cuts]
    first = next(i for i, problem in enumerate(problems) if problem)
    assert ZOO[name].broken in problems[first]
    after = "" if name == "tokens" else problems[first]  # derivatives of ids start after their embedding
    assert problems[first + 1 :] == [after] * (len(problems) - first - 1), "what follows is not known either"


@pytest.mark.parametrize("name", ["chain", "residual", "two_inputs", "attention", "recurrent", "hard_batch"])
def test_energy_is_the_squared_length_of_jv(name: str) -> None:
    """The mean over probes is Tr(JᵀJ): with all unit vectors as probes, exactly."""
    graph, x = traced(name), traced(name).flat(ZOO[name].inputs(2))
    elements = sum(t[0].numel() for t in x)
    unit = torch.eye(elements).split([t[0].numel() for t in x], 1)
    directions = tuple(
        e.view(elements, 1, *t.shape[1:]).expand(elements, *t.shape).contiguous() for e, t in zip(unit, x, strict=True)
    )
    seen = walked(graph, x, directions)
    for cut, nodes in zip(graph.cuts, graph.activation_nodes, strict=True):
        exact = torch.zeros(2, dtype=torch.float64)
        for number in range(len(nodes)):
            with math_attention(), without_mkldnn():
                jacobians = torch.func.jacfwd(flat_edge(graph, cut.index, number), tuple(range(len(x))))(*x)
            for jacobian, t in zip(jacobians, x, strict=True):
                own = torch.stack([jacobian.flatten(-t.dim() + 1)[i, ..., i, :] for i in range(2)])
                exact += own.abs().double().square().flatten(1).sum(1)
        found = sum(seen[node][1].abs().double().square().flatten(2).sum((0, 2)) for node in nodes)
        assert torch.allclose(found, exact, rtol=1e-4), cut.name


@pytest.mark.parametrize("name", ["chain", "attention", "shared"])
def test_probes_converge_to_the_exact_trace(name: str) -> None:
    """Hutchinson: unbiased, and the error falls as one over the root of the probes."""
    graph, x = traced(name), traced(name).flat(ZOO[name].inputs(1))
    energies = tangent_energies(graph, x, probes=600, seed=1)
    for cut in graph.cuts[1:]:
        with math_attention():
            jacobian = torch.func.jacfwd(flat_edge(graph, cut.index, 0))(*x)
        exact, found = float(jacobian.double().square().sum()), energies[cut.index].energy[:, 0]
        stderr = float(found.std()) / math.sqrt(600)
        assert abs(float(found.mean()) - exact) < 4.5 * stderr + 1e-6 * exact, cut.name


def test_the_raw_input_s_trace_is_its_size() -> None:
    graph = traced("chain")
    x = graph.flat(ZOO["chain"].inputs(4))
    energy = tangent_energies(graph, x, probes=3, seed=0)[0]
    assert torch.allclose(energy.energy, torch.full((3, 4), 108.0, dtype=torch.float64))
    assert torch.allclose(energy.signal, x[0].double().square().flatten(1).sum(1))
    assert energy.elements == 108


def test_a_linear_net_has_the_trace_of_its_matrix() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)).eval()
    matrix = net[1].weight @ net[0].weight
    energy = tangent_energies(trace(net, torch.rand(2, 5)), (torch.rand(2, 5),), probes=4000, seed=0)[2]
    assert float(energy.energy.mean()) == pytest.approx(float(matrix.square().sum()), rel=0.05)


def test_halves_are_summed_wide() -> None:
    """‖z‖² of large halves passes 65504, the largest float16."""
    net = nn.Linear(4, 400, bias=False).half()
    nn.init.constant_(net.weight, 10.0)
    energy = tangent_energies(trace(net, torch.ones(2, 4).half()), (torch.ones(2, 4).half(),), probes=2, seed=0)[1]
    assert float(energy.signal[0]) == pytest.approx(400 * 40.0**2)


# ---- memory, seeds, batches -----------------------------------------------------------------------------------------


def test_micro_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = traced("residual")
    x, told = graph.flat(ZOO["residual"].inputs(5)), []
    monkeypatch.setattr("advisor.derivatives.tangents.MICRO_BYTES", 1)
    slow = tangent_energies(graph, x, probes=2, seed=3, progress=lambda share, what: told.append(share))
    again = tangent_energies(graph, x, probes=2, seed=3)
    assert told == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    for index, energy in slow.items():
        assert energy.energy.shape == (2, 5)
        assert torch.equal(energy.energy, again[index].energy)
        assert torch.allclose(energy.signal, tangent_energies(graph, x, 2, 3)[index].signal)


def test_same_seed_same_answer_and_other_seed_another() -> None:
    graph = traced("chain")
    x = graph.flat(ZOO["chain"].inputs(3))
    one, two, other = (tangent_energies(graph, x, 2, seed)[3].energy for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", ["chain", "attention", "residual", "recurrent"])
@pytest.mark.parametrize("frozen", [1, 2])
def test_a_frozen_batch_has_the_same_energies(name: str, frozen: int) -> None:
    x = ZOO[name].inputs(3)
    graph = trace(export(ZOO[name].model(), (ZOO[name].inputs(frozen),)))
    expected = tangent_energies(traced(name), (x,), probes=2, seed=0)
    found = tangent_energies(graph, (x,), probes=2, seed=0)
    by_name = {cut.name: found[cut.index] for cut in graph.cuts}
    for cut in traced(name).cuts:
        assert by_name[cut.name].problem == ""
        assert torch.allclose(by_name[cut.name].energy, expected[cut.index].energy, rtol=1e-4)
        assert torch.allclose(by_name[cut.name].signal, expected[cut.index].signal, rtol=1e-4)


# ---- operators with a trap ------------------------------------------------------------------------------------------


class Trap(nn.Module):
    """One function as a model."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("index", torch.tensor([3, 1, 0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.index)


TRAPS = {
    "index_select": lambda x, i: x.index_select(1, i),
    "gather": lambda x, i: x[:, i],
    "pad_value": lambda x, i: nn.functional.pad(x, (1, 1), value=7.0),
    "rsub": lambda x, i: torch.rsub(x, 3, alpha=2),
    "add_alpha": lambda x, i: torch.add(x, x.tanh(), alpha=2) + 1,
    "one_minus": lambda x, i: 1 - x,
    "square": lambda x, i: x * x,
    "self_product": lambda x, i: x.unsqueeze(2) @ x.unsqueeze(1),
    "ratio": lambda x, i: 1 / (2 + x.square()),
    "where": lambda x, i: torch.where(x > 0, x, 0.1 * x),
    "sorted": lambda x, i: x.sort(1).values,
    "chunks": lambda x, i: torch.cat(list(reversed(x.chunk(2, 1))), 1),
    "roll": lambda x, i: x.roll(1, 1),
    "norm": lambda x, i: nn.functional.layer_norm(x, (4,)),
    "attend": lambda x, i: nn.functional.scaled_dot_product_attention(*(x.view(-1, 2, 2),) * 3).flatten(1),
    "maximum": lambda x, i: torch.maximum(x, x.flip(1)),
    "pool": lambda x, i: nn.functional.max_pool1d(x.unsqueeze(1), 2).flatten(1),
    "clamp": lambda x, i: x.clamp(-0.5, 0.5),
    "scan": lambda x, i: x.cumsum(1),
    "cast": lambda x, i: x.double().float() * 2,
}


@pytest.mark.parametrize("trap", list(TRAPS))
def test_operators_with_a_trap(trap: str) -> None:
    model = Trap(TRAPS[trap])
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    v = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(3))
    graph = trace(model, x)
    _, tangent, problem = walked(graph, (x,), (v,))[graph.activation_nodes[-1][0]]
    assert problem == ""
    for k in range(2):
        with math_attention():
            expected = torch.func.jvp(model, (x,), (v[k],))[1]
        assert torch.allclose(tangent[k], expected, atol=1e-5)


def test_integers_on_the_way_are_said_not_zero() -> None:
    """Counting is a step function: its derivative is zero, which would read as no leakage at all."""
    model = Trap(lambda x, i: (x > 0).sum(1, keepdim=True).float() * 2)
    graph = trace(model, torch.rand(2, 4))
    energy = tangent_energies(graph, (torch.rand(3, 4),), probes=2, seed=0)[graph.cut("output").index]
    assert energy.problem == "gt returns bool: it has no derivative"


def test_integers_that_only_select_are_no_problem() -> None:
    model = Trap(lambda x, i: x.gather(1, x.argsort(1)))
    graph = trace(model, torch.rand(2, 4))
    energy = tangent_energies(graph, (torch.rand(3, 4),), probes=2, seed=0)[graph.cut("output").index]
    assert energy.problem == ""
    assert torch.allclose(energy.energy, torch.full((2, 3), 4.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda x, i: torch.round(x * 8) / 8, "round is a step function: its derivative says nothing"),
        (lambda x, i: x.sign() + x, "sign is a step function"),
        (lambda x, i: torch.div(x, 0.1, rounding_mode="floor"), "div is a step function"),
    ],
)
def test_rounding_is_said_not_zero(function: Any, problem: str) -> None:
    graph = trace(Trap(function), torch.rand(2, 4))
    energy = tangent_energies(graph, (torch.rand(3, 4),), probes=2, seed=0)[graph.cut("output").index]
    assert energy.problem.startswith(problem)


def test_detaching_hides_nothing() -> None:
    """`detach` stops the training gradient, not what the value says of the input."""
    graph = trace(Trap(lambda x, i: 3 * x.detach()), torch.rand(2, 4))
    energy = tangent_energies(graph, (torch.rand(3, 4),), probes=2, seed=0)[graph.cut("output").index]
    assert torch.allclose(energy.energy, torch.full((2, 3), 36.0, dtype=torch.float64))


def test_an_operator_without_forward_mode_is_named() -> None:
    @torch.library.custom_op("advisor_tests::half_of", mutates_args=())
    def half_of(x: Tensor) -> Tensor:
        return x / 2

    half_of.register_fake(torch.empty_like)
    graph = trace(nn.Sequential(nn.Linear(4, 4), Trap(lambda x, i: half_of(x)), nn.Linear(4, 2)), torch.rand(2, 4))
    energies = tangent_energies(graph, (torch.rand(3, 4),), probes=2, seed=0)
    assert energies[1].problem == ""
    for index in (2, 3):
        assert energies[index].problem.startswith("forward mode is not implemented for half_of (")


def test_a_mixed_input_takes_derivatives_of_its_numbers() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.a = nn.Embedding(7, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor, ids: Tensor) -> Tensor:
            return self.a(x * 3 + self.table(ids))

    graph = trace(Mixed().eval(), (torch.rand(2, 4), torch.tensor([1, 2])))
    x = (torch.rand(3, 4), torch.tensor([1, 2, 6]))
    energies = tangent_energies(graph, x, probes=2, seed=0)
    assert energies[0].problem == "the input ids is int64: it has no derivative"
    assert energies[0].elements == 4
    # what the second input adds cannot be told, so neither can the sum
    assert energies[1].problem == "the input ids is int64: it has no derivative"


def test_energies_describe_themselves() -> None:
    energies = tangent_energies(traced("towers"), traced("towers").flat(ZOO["towers"].inputs(3)), probes=2, seed=0)
    assert all(
        isinstance(e, TangentEnergy) and e.elements == 9 and e.energy.dtype == torch.float64 for e in energies.values()
    )


class Through(nn.Module):
    """A pointwise function between two scalings, so that its tangent may be written over; or first, so that not."""

    def __init__(self, function: Any, first: bool) -> None:
        super().__init__()
        self.function, self.first = function, first

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.function(x) if self.first else 2 * self.function(3 * x)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "function",
    [
        nn.ReLU(), nn.ReLU6(), nn.Hardtanh(), nn.Hardtanh(-0.5), nn.Hardtanh(-0.5, 2.0), nn.SiLU(), nn.GELU(),
        nn.GELU(approximate="tanh"), nn.Hardswish(), nn.Sigmoid(),
    ],
    ids=repr,
)  # fmt: skip
def test_pointwise_tangents_are_those_of_torch_corners_included(
    function: nn.Module, dtype: torch.dtype, first: bool
) -> None:
    corners = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 6.0, -1 / 3, 1 / 3, 7.0])
    x = torch.stack([corners, corners.flip(0), corners / 3]).to(dtype)
    directions = torch.randn(4, *x.shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    model = Through(function, first).eval()
    graph = trace(model, x[:2])
    _, tangent, problem = walked(graph, (x,), (directions,))[graph.activation_nodes[-1][0]]
    assert problem == ""
    for k in range(4):
        expected = torch.func.jvp(model, (x,), (directions[k],))[1]
        close = TOLERANCE.get(dtype, 1e-5)
        assert torch.allclose(tangent[k], expected, rtol=close, atol=close)


class Attending(nn.Module):
    """Attention of three maps of one input, with what was asked for beside it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps, self.options = nn.Linear(8, 24), options

    def forward(self, x: Tensor) -> Tensor:
        heads = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.maps(x).chunk(3, -1))
        return nn.functional.scaled_dot_product_attention(*heads, **self.options).flatten(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "model",
    [
        lambda: nn.LayerNorm(8), lambda: nn.LayerNorm((5, 8), eps=0.1), lambda: nn.LayerNorm(8, bias=False),
        lambda: nn.LayerNorm(8, elementwise_affine=False), Attending, lambda: Attending(is_causal=True),
        lambda: Attending(scale=0.3), lambda: Attending(attn_mask=torch.eye(5, dtype=torch.bool)),
        lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True),
    ],
    ids=["last", "two", "no bias", "plain", "attention", "causal", "scale", "mask", "encoder"],
)  # fmt: skip
def test_normalisation_and_attention_are_those_of_torch(model: Any, dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(8, 8), model()).to(dtype).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(3, 5, 8, generator=generator).to(dtype)
    directions = torch.randn(4, *x.shape, generator=generator).to(dtype)
    graph = trace(net, x[:2])
    _, tangent, problem = walked(graph, (x,), (directions,))[graph.activation_nodes[-1][0]]
    assert problem == ""
    for k in range(4):
        with math_attention(), plain_attention():
            expected = torch.func.jvp(net, (x,), (directions[k],))[1]
        close = TOLERANCE.get(dtype, 1e-5)
        assert torch.allclose(tangent[k], expected, rtol=close, atol=close * float(expected.abs().max()))
