from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.nn import functional as F

from advisor.graph import PartitionGraph
from advisor.profilers import profile
from advisor.profilers.multiply_adds.contraction import einsum
from advisor.profilers.multiply_adds.counting import MacCount, count
from advisor.tracing.tracer import trace

CONVOLUTION = 3 * 9 * 4 * 64
BODY = 4 * 9 * 4 * 64
NORM = 2 * 4 * 64  # fvcore: scale and shift
HEAD = 4 * 64 * 5


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 3 * 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k[:, :5], v[:, :5, :4])


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: bool | int) -> None:
        super().__init__()
        self.layer = kind(7, 5, batch_first=True, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


class Functional(nn.Module):
    def __init__(self, operation: object) -> None:
        super().__init__()
        self.operation = operation
        self.weight = nn.Parameter(torch.zeros(6, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.operation(x, self.weight)  # type: ignore[operator,no-any-return]


def total(model: nn.Module, *shape: int) -> MacCount:
    return count(trace(model.eval(), torch.zeros(2, *shape)))


def test_pieces_in_closed_form(graph: PartitionGraph) -> None:
    counted = count(graph)
    assert counted.total == CONVOLUTION + BODY + NORM + HEAD
    assert counted.unsupported == {}
    assert sorted(p for p in counted.pieces if p) == sorted([CONVOLUTION, BODY + NORM, HEAD])


def test_total_is_fvcores_own(residual: nn.Module, graph: PartitionGraph) -> None:
    own = FlopCountAnalysis(residual, torch.zeros(1, 3, 8, 8)).unsupported_ops_warnings(False)
    assert count(graph).total == own.total()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_total_is_fvcores_own_on_real_networks(name: str) -> None:
    from torchvision import models

    with torch.random.fork_rng():
        model = models.get_model(name, weights=None).eval()
    own = FlopCountAnalysis(model, torch.zeros(1, 3, 64, 64)).unsupported_ops_warnings(False)
    counted = total(model, 3, 64, 64)
    assert counted.total == own.uncalled_modules_warnings(False).total()
    assert counted.unsupported == {}


def test_attention() -> None:
    counted = total(Attention(), 7, 6)
    assert counted.total == 7 * 6 * 18 + 7 * 5 * (6 + 4)
    assert counted.unsupported == {}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent(kind: type[nn.RNNBase], gates: int) -> None:
    steps = 11
    assert total(Recurrent(kind), steps, 7).total == steps * gates * 5 * (7 + 5)
    two = steps * 2 * gates * 5 * (7 + 5) + steps * 2 * gates * 5 * (10 + 5)
    assert total(Recurrent(kind, bidirectional=True, num_layers=2), steps, 7).total == two


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda x, w: torch.matmul(x, w), 4 * 6 * 3),
        (lambda x, w: torch.einsum("nij,jk->nik", x, w), 4 * 6 * 3),
        (lambda x, w: torch.bmm(x, x.transpose(1, 2)), 4 * 4 * 6),
        (lambda x, w: torch.baddbmm(x[:, :, :4], x, x.transpose(1, 2)), 4 * 4 * 6),
        (lambda x, w: F.gelu(x) * 2 + torch.softmax(x, -1), 0),
    ],
)
def test_products(operation: object, expected: int) -> None:
    counted = total(Functional(operation), 4, 6)
    assert counted.total == expected
    assert counted.unsupported == {}


# ---- against the definition, written out -----------------------------------------------------------------------------


def looped_einsum(equation: str, *shapes: tuple[int, ...]) -> int:
    """Multiply-adds of a product of two operands: one for each combination of all indices."""
    given, _ = equation.split("->")
    sizes = {
        i: n for term, shape in zip(given.split(","), shapes, strict=True) for i, n in zip(term, shape, strict=True)
    }
    done = 0
    for _ in itertools.product(*map(range, sizes.values())):
        done += 1
    return done


def looped_convolution(x: Any, w: Any, out: Any) -> int:
    """One multiply-add for each element of the result, channel of its group and place of the kernel."""
    done = 0
    for _ in itertools.product(*map(range, out.shape[1:])):
        for _ in itertools.product(*map(range, w.shape[1:])):
            done += 1
    return done


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding="same"), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, groups=2, stride=2),
        nn.Conv2d(4, 4, 3, groups=4, dilation=2), nn.Conv1d(3, 5, 3, padding="same"), nn.Conv3d(2, 3, 2),
        nn.Conv1d(3, 5, 4, padding="same", dilation=2),
    ],
    ids=str,
)  # fmt: skip
def test_convolutions_are_their_definition(layer: Any) -> None:
    shape = (layer.in_channels, *(8,) * (layer.weight.dim() - 2))
    x = torch.zeros(1, *shape)
    assert total(layer, *shape).total == looped_convolution(x, layer.weight, layer.eval()(x))


@pytest.mark.parametrize(
    "layer", [nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.ConvTranspose1d(3, 2, 4)], ids=str
)
def test_a_transposed_convolution_uses_the_kernel_once_for_each_input(layer: Any) -> None:
    shape = (layer.in_channels, *(5,) * (layer.weight.dim() - 2))
    outputs = layer.weight.shape[1] * math.prod(layer.kernel_size)
    assert total(layer, *shape).total == math.prod(shape) * outputs


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bnd,de->bne", ((1, 5, 4), (4, 6))), ("bix,iox->box", ((1, 3, 5), (3, 2, 5))),
        ("bij,bkj->bik", ((1, 3, 4), (1, 5, 4))),
        ("bhid,bhjd->bhij", ((1, 2, 3, 4), (1, 2, 5, 4))), ("bi,oi->bo", ((1, 7), (3, 7))),
    ],
)  # fmt: skip
def test_einsum_is_its_definition(equation: str, shapes: Any) -> None:
    assert einsum(equation, shapes) == looped_einsum(equation, *shapes)
    if equation.split(",")[1].startswith("b"):
        return
    weight = nn.Parameter(torch.zeros(shapes[1]))
    model = Functional(lambda x, w: torch.einsum(equation, x, weight))
    model.other = weight
    assert total(model, *shapes[0][1:]).total == looped_einsum(equation, *shapes)


def test_einsum_of_many_operands_and_ellipses() -> None:
    assert einsum("...ij,...jk->...ik", ((2, 1, 3, 4), (1, 5, 4, 6))) == 2 * 5 * 3 * 4 * 6
    assert einsum("ij,jk", ((3, 4), (4, 6))) == 3 * 4 * 6
    assert einsum("ij,jk,kl->il", ((2, 3), (3, 4), (4, 5))) == 2 * 3 * 4 + 2 * 4 * 5
    assert einsum("ij,jk,kl->il", ((2, 3), (3, 4), (4, 5)), (1, 2, 0, 1)) == 3 * 4 * 5 + 2 * 3 * 5
    assert einsum("ij,k->k", ((2, 3), (4,))) == 4
    assert einsum("bii->b", ((2, 3, 3),)) == 0


def _left(x: Any, w: Any) -> Any:
    return w.T @ x.transpose(1, 2)


PRODUCTS = {
    "W @ x": (_left, 3 * 6 * 4),
    "a matrix for each head": (lambda x, w: x[:, None] @ w.expand(5, 6, 3), 5 * 4 * 6 * 3),
    "a vector from the left": (lambda x, w: w[:, 0] @ x.transpose(1, 2), 6 * 4),
    "matrix by vector": (lambda x, w: x @ w[:, 0], 4 * 6),
    "linear": (lambda x, w: F.linear(x, w.T), 4 * 6 * 3),
    "addmm of weights": (lambda x, w: x @ torch.addmm(w.new_zeros(6, 6), w, w.T), 6 * 3 * 6 + 4 * 6 * 6),
    "weights by weights, once": (lambda x, w: x @ (w @ w.T), 6 * 3 * 6 + 4 * 6 * 6),
    "bilinear": (lambda x, w: F.bilinear(x, x, torch.zeros(2, 6, 6)), 4 * (2 * 6 * 6 + 2 * 6)),
    "distances": (lambda x, w: torch.cdist(x, w.T), 4 * 3 * 6),
    "inner": (lambda x, w: torch.inner(x, w.T), 4 * 3 * 6),
    "complex": (lambda x, w: torch.view_as_real(torch.complex(x, x) @ torch.complex(w, w)), 4 * 4 * 6 * 3),
    "attention": (lambda x, w: F.scaled_dot_product_attention(x, x, x[..., :2]), 4 * 4 * (6 + 2)),
    "elementwise": (lambda x, w: F.silu(x) * x.cumsum(1).softmax(-1), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("rows", [2, 5])
def test_products_of_one_input_whatever_the_batch(name: str, rows: int) -> None:
    operation, expected = PRODUCTS[name]
    counted = count(trace(Functional(operation).eval(), torch.zeros(rows, 4, 6)))
    assert counted.total == expected
    assert counted.unsupported == {}


def test_a_frozen_batch_counts_one_sample_and_weights_whole() -> None:
    model = Functional(lambda x, w: x @ (w @ w.T)).eval()
    program = torch.export.export(model, (torch.zeros(4, 4, 6),))
    assert count(trace(program)).total == 6 * 3 * 6 + 4 * 6 * 6


def test_pieces_sum_to_the_whole() -> None:
    graph = trace(nn.Sequential(Attention(), nn.Linear(4, 5), nn.LayerNorm(5)).eval(), torch.zeros(2, 7, 6))
    parts = [count(trace(half, torch.zeros(2, *shape))).total for half, shape in _halves(graph, 1)]
    assert sum(parts) == count(graph).total == sum(count(graph).pieces)


def _halves(graph: PartitionGraph, at: int) -> list[tuple[nn.Module, tuple[int, ...]]]:
    edge, cloud = graph.split(at)
    return [(edge, graph.cuts[0].tensors[0].shape), (cloud, graph.cuts[at].tensors[0].shape)]


# ---- what nobody counts -------------------------------------------------------------------------------------------


def test_what_nobody_counts_makes_lower_bounds_of_all_that_is_made_of_it() -> None:
    model = Functional(lambda x, w: torch.fft.rfft(x).abs() + torch.special.i0(x[..., :4])).eval()
    graph = trace(model, torch.zeros(2, 4, 6))
    counted = count(graph)
    assert counted.unsupported == {"fft_rfft": 1}
    assert counted.bound == "a lower bound: nobody knows how to count fft_rfft ×1"
    made = profile(graph, device="jetson", link="wifi", cloud="t4")
    for name in ("macs", "edge_latency", "cloud_latency", "latency", "edge_energy", "throughput"):
        assert made[name].source == "bounded", name
        assert ("an upper bound" if name == "throughput" else "a lower bound") in made[name].method, name
    assert made["link_latency"].source == "estimated"


def test_what_is_counted_is_measured(graph: PartitionGraph) -> None:
    made = profile(graph, device="jetson", link="wifi", cloud="t4")
    assert made["macs"].source == "measured"
    assert made["latency"].source == "estimated"


def test_nothing_is_run(graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartitionGraph, "interpret", None)
    assert count(graph).total == CONVOLUTION + BODY + NORM + HEAD
