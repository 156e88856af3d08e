from __future__ import annotations

import logging
import math
import warnings

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.nn import functional as F

from advisor.graph import PartitionGraph
from advisor.profilers import macs
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


def total(model: nn.Module, *shape: int) -> macs.MacCount:
    return macs.count(trace(model.eval(), torch.zeros(2, *shape)))


def test_pieces_in_closed_form(graph: PartitionGraph) -> None:
    counted = macs.count(graph)
    assert counted.total == CONVOLUTION + BODY + NORM + HEAD
    assert counted.unsupported == {}
    assert sorted(p for p in counted.pieces if p) == sorted([CONVOLUTION, BODY + NORM, HEAD])


def test_total_is_fvcores_own(residual: nn.Module, graph: PartitionGraph) -> None:
    own = FlopCountAnalysis(residual, torch.zeros(1, 3, 8, 8)).unsupported_ops_warnings(False)
    assert macs.count(graph).total == own.total()


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


def test_what_nobody_counts_is_reported() -> None:
    counted = total(Functional(lambda x, w: torch.fft.rfft(x).abs() + torch.special.i0(x[..., :4])), 4, 6)
    assert set(counted.unsupported) == {"fft_rfft", "i0"}


def test_the_user_sees_neither_warnings_nor_logs(graph: PartitionGraph, caplog: pytest.LogCaptureFixture) -> None:
    level = logging.getLogger("fvcore").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        macs.count(graph)
    assert caplog.records == []
    assert logging.getLogger("fvcore").level == level


def test_the_model_is_left_as_found(residual: nn.Module, graph: PartitionGraph) -> None:
    state = torch.get_rng_state()
    macs.count(graph)
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in residual.modules())


def test_an_untraceable_model_is_nan_with_a_reason(graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> object:
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(macs, "analyse", refuse)
    counted = macs.count(graph)
    assert math.isnan(counted.total)
    assert counted.why == "torch.jit cannot trace this model: no such operator"
