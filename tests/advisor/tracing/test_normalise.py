"""Normalisation: nothing writes in place, checks are gone, constants stay constants."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advisor.operations.views import copies, is_mutation, is_view
from advisor.tracing.normalise import functional_twin, normalise
from advisor.tracing.programs import export, unlifted
from advisor.tracing.tracer import trace
from tests.models import ZOO, traced

aten = torch.ops.aten


@pytest.mark.parametrize("name", list(ZOO))
def test_nothing_writes_asserts_or_hides_a_region(name: str) -> None:
    for node in traced(name).module.graph.nodes:
        assert not is_mutation(node)
        assert "wrap_with" not in str(node.target)
        assert "assert" not in str(node.target)
        assert node.op in ("placeholder", "get_attr", "call_function", "output")


@pytest.mark.parametrize(
    ("operator", "twin"),
    [
        (aten.add_.Tensor, aten.add.Tensor),
        (aten.relu_.default, aten.relu.default),
        (aten.fill_.Scalar, aten.fill.Scalar),
        (aten.copy_.default, aten.copy.default),
        (aten.index_put_.default, aten.index_put.default),
        (aten.masked_fill_.Scalar, aten.masked_fill.Scalar),
    ],
)
def test_every_write_has_its_twin(operator: Any, twin: Any) -> None:
    assert functional_twin(operator) is twin


def test_what_has_no_twin_has_none() -> None:
    assert functional_twin(aten.add.out) is None


class InPlace(nn.Module):
    """One function as a model, with a buffer."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("table", torch.arange(4.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def _base_after_view(self: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.view(-1)[::2].add_(1)
    return y


def _view_before_base(self: Any, x: Tensor) -> Tensor:
    y = x * 2
    z = y.t()
    y.add_(1)
    return z.t() * 1


def _alias_of_result(self: Any, x: Tensor) -> Tensor:
    y = x * 2
    z = y.add_(1)
    z.mul_(3)
    return y + z


def _chunk(self: Any, x: Tensor) -> Tensor:
    y = x * 2
    first, second = y.chunk(2, 1)
    first.add_(second)
    return y


def _through_dropout(self: Any, x: Tensor) -> Tensor:
    y = x * 2
    z = nn.functional.dropout(y, 0.5, training=False)
    z.add_(1)
    return y


def _buffer_view(self: Any, x: Tensor) -> Tensor:
    table = self.table.clone()
    table[:2] = 5.0
    return x + table


def _fill(self: Any, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[:, :2] = x[:, 2:]
    y[:, 2:] = 1.0
    return y


def _masked(self: Any, x: Tensor) -> Tensor:
    y = x + 0
    y[y < 0] = 9.0
    return y


def _transposed(self: Any, x: Tensor) -> Tensor:
    y = x + 0
    y.transpose_(0, 1)
    y.mul_(2)
    return y.t()


def _loop(self: Any, x: Tensor) -> Tensor:
    out = x.new_zeros(x.shape[0], 3)
    for i in range(3):
        out[:, i] = x[:, i] * i
    return out


def _view_of_a_written_base(self: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.add_(1)
    z = y.view(-1)
    z.mul_(2)
    return y


def _siblings(self: Any, x: Tensor) -> Tensor:
    y = x * 2
    left, right = y[:, :3], y[:, 1:]
    left.add_(1)
    right.mul_(3)
    return left.sum(1) + y.sum(1)


def _nested_slices(self: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1:][:, 0].add_(5)
    y[:, 0] = 7.0
    y[:, ::2] *= 2
    return y + 1


def _swin_bias(self: Any, x: Tensor) -> Tensor:
    bias = self.table.clone()
    bias[1:3].zero_()
    return x + bias


@pytest.mark.parametrize(
    "function",
    [
        _view_of_a_written_base, _siblings, _nested_slices, _swin_bias,
        _base_after_view, _view_before_base, _alias_of_result, _chunk, _through_dropout, _buffer_view, _fill, _masked,
        _transposed, _loop,
    ],
)  # fmt: skip
def test_writes_mean_what_they_meant(function: Any) -> None:
    model = InPlace(function)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    graph = trace(model, x.clone())
    expected = model(x.clone())
    for cut in graph.cuts:
        edge, cloud = graph.split(cut)
        assert torch.equal(cloud(edge(x.clone())), expected), cut.name
    assert torch.equal(model.table, torch.arange(4.0)), "a buffer was written to"


def test_tensors_reshaped_by_the_same_batch_size_share_no_memory() -> None:
    """A write into a part of one is none into the other, so that torch need not make the whole program functional."""

    def assigned(self: Any, x: Tensor) -> Tensor:
        left, right = (x * 2).view(x.shape[0], 2, 2), (x * 3).view(x.shape[0], 2, 2)
        left[:, :1] = left[:, :1] + right[:, 1:]
        return left + right

    model, x = InPlace(assigned), torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    graph = trace(model, x)
    assert graph.notes == ()
    assert torch.equal(graph(x), model(x))


def test_factories_do_not_make_the_tensor_cross() -> None:
    """A mask made `like` a tensor needs its dtype only: the cut after it crosses one tensor."""
    model = InPlace(lambda self, x: (x * 2).tanh() + torch.full_like(x, 0.5) + x.new_full((4,), 2.0) + x.new_ones(4))
    graph = trace(model, torch.rand(2, 4))
    assert [cut.name for cut in graph.cuts] == ["input", "mul", "tanh", "add", "add#2", "output"]
    assert torch.equal(graph(torch.ones(3, 4)), torch.full((3, 4), 2.0).tanh() + 3.5)


def test_what_takes_only_a_shape_or_a_type_does_not_make_the_tensor_cross() -> None:
    def placed(self: Any, x: Tensor) -> Tensor:
        y = (x * 2).tanh()
        z = y.exp() + self.table.expand_as(x * 2) + self.table.type_as(y).double().to(y)
        return z.relu().reshape(-1).view_as(y)

    model = InPlace(placed)
    graph = trace(model, torch.rand(2, 4))
    assert graph.notes == ()
    assert [cut.name for cut in graph.cuts][1:-1] == ["mul", "tanh", "exp", "add", "add#2", "relu"]
    x = torch.rand(3, 4)
    assert all(torch.equal(cloud(edge(x)), model(x)) for edge, cloud in map(graph.split, graph.cuts))


def test_constants_that_are_written_are_folded_once() -> None:
    module = traced("window_mask").module
    folded = [v for n, v in module.named_buffers() if n.startswith("_constant")]
    assert len(folded) == 1
    assert torch.equal(folded[0].flatten(), torch.tensor([0.0, 0, -1, -1, 0, 0]))


def test_noise_is_drawn_anew_at_each_run() -> None:
    def noisy(self: Any, x: Tensor) -> Tensor:
        mask = torch.zeros(4)
        mask[0] = 1.0
        return x + mask * torch.rand(4)

    x = torch.zeros(2, 4)
    module = unlifted(export(InPlace(noisy), (x,), {}))
    assert normalise(module) == []
    assert not torch.equal(module(x), module(x))


def test_views_are_known() -> None:
    views = {
        str(n.target).split(".")[1]: is_view(n) for n in traced("chain").module.graph.nodes if n.op == "call_function"
    }
    assert views == {
        "conv2d": False, "batch_norm": False, "relu": False, "adaptive_avg_pool2d": False, "flatten": True,
        "linear": False,
    }  # fmt: skip


def test_a_copy_that_strides_force_is_none_where_they_do_not():
    class Shuffle(torch.nn.Module):
        def forward(self, x):
            plain = x.contiguous()
            turned = plain.transpose(1, 2).contiguous()
            return turned.transpose(1, 2).reshape(len(x), -1) + plain.reshape(len(x), -1)

    graph = trace(Shuffle().eval(), torch.zeros(2, 3, 4))
    nodes = [
        n for n in graph.module.graph.nodes if str(n.target) in ("aten.contiguous.default", "aten.reshape.default")
    ]
    assert [copies(node) for node in nodes] == [graph.value_bytes(node) > 0 for node in nodes]
    assert [graph.value_bytes(node) for node in nodes if copies(node)] == [48.0, 48.0]


class Contracted(nn.Module):
    """einsum as a view of its one operand, and as a product of two."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        turned = torch.einsum("nij->nji", x)
        return torch.einsum("nij,njk->nik", x, turned)


def test_a_product_by_einsum_takes_memory_of_its_own() -> None:
    graph = trace(Contracted(), torch.rand(2, 3, 5))
    found = [graph.value_bytes(node) for node in graph.module.graph.nodes if "einsum" in str(node.target)]
    assert found == [0, 4 * 3 * 3]
