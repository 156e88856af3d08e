"""What torch.export refuses at first: settled, taken by another tracer, or refused with the user's own line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advisor.errors import TraceError
from advisor.graph import PartitionGraph
from advisor.tracing.fallbacks import _scripted, agrees, fall_back
from advisor.tracing.reads import reads_of
from advisor.tracing.tracer import trace
from tests.models import equal


class Base(nn.Module):
    """Two layers, and tensors of its own that a forward can read."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 2)
        self.register_buffer("flag", torch.tensor(1))
        self.register_buffer("widths", torch.tensor([2, 4]))
        self.scale = nn.Parameter(torch.tensor(2.0))


class Branch(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        if self.flag > 0:
            h = h.relu()
        return self.b(h)


class Item(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x) * self.flag.item())


class Float(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x) * float(self.scale))


class ToList(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.cat(self.a(x).split(self.widths.tolist(), 1)[::-1], 1))


class ToNumpy(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x) * float(np.sum(self.widths.numpy())))


class Chosen(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x) + torch.nonzero(self.widths > 3).squeeze(1))


class TopK(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).topk(int(self.flag) + 1, 1)[0].repeat(1, 3))


class Twice(Base):
    """One line that reads two values."""

    def forward(self, x: Tensor) -> Tensor:
        for width in self.widths:
            x = self.a(x) * width.item() if width.item() > 3 else self.a(x)
        return self.b(x)


class Asserts(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        assert torch.isfinite(h).all(), "not finite"
        return self.b(h)


class Raises(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        if torch.isnan(h).any():
            raise ValueError("not a number")
        return self.b(h)


class InputItem(Base):
    """A number read out of what the input became: an operation like any other, between two cuts."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(torch.tanh(h + 0.0 * h.abs().max().item()))


class CountsSamples(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.cat([part * len(part) for part in self.a(x).chunk(2, 1)], 1))


class ReshapesByLength(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.cat([part.reshape(len(part), 3) for part in self.a(x).chunk(2, 1)], 1))


class Mapped(Base):
    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(lambda row: self.b(self.a(row).relu()))(x)


class Scripted(Base):
    def __init__(self) -> None:
        super().__init__()
        with pytest.warns((FutureWarning, DeprecationWarning)):
            self.c = torch.jit.script(nn.Sequential(nn.Linear(6, 6), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.c(self.a(x)))


@dataclass
class Inner:
    h: Tensor


@dataclass
class Outer:
    logits: Tensor
    inner: Inner
    none: Tensor | None = None


class Dataclass(Base):
    def forward(self, x: Tensor) -> Outer:
        h = self.a(x)
        return Outer(self.b(h.relu()), Inner(h))


TAKEN: dict[type[nn.Module], str] = {
    Branch: r"settled when tracing at test_fallbacks\.py:\d+ \(if self\.flag > 0:\)",
    Item: "",
    Float: r"settled when tracing .*float\(self\.scale\)",
    ToList: r"settled when tracing .*tolist\(\)",
    ToNumpy: r"settled when tracing .*numpy\(\)",
    Chosen: r"settled when tracing .*torch\.nonzero",
    TopK: r"settled when tracing .*int\(self\.flag\)",
    Twice: r"settled when tracing .*width\.item\(\)",
    Asserts: r"check of values was left out at test_fallbacks\.py:\d+ \(assert torch\.isfinite",
    Raises: r"check of values was left out .*\(if torch\.isnan",
    InputItem: "",
    ReshapesByLength: "fixed batch of 1",
    Mapped: r"torch\.func transform",
    Scripted: "traced by TorchScript",
    Dataclass: "",
}


def built(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def numbers(rows: int) -> Tensor:
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("kind", TAKEN)
def test_what_can_be_taken_is_exact_at_every_cut_and_says_how(kind: type[nn.Module]) -> None:
    model = built(kind)
    graph = trace(model, numbers(2))
    assert len(graph.notes) == bool(TAKEN[kind])
    assert re.search(TAKEN[kind], " ".join(graph.notes))
    live = {id(p) for half in graph.split(0) for p in half.parameters()}
    assert live <= {id(p) for p in model.parameters()}
    for rows in (1, 2, 5):
        expected = model(numbers(rows))
        for cut in graph.cuts:
            edge, cloud = graph.split(cut)
            assert equal(cloud(edge(numbers(rows))), expected) or kind is Mapped
            assert close(cloud(edge(numbers(rows))), expected)
            assert {id(p) for half in (edge, cloud) for p in half.parameters()} == live


def close(found: Any, expected: Any) -> bool:
    pairs = zip(torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(expected), strict=True)
    return all(torch.allclose(a, b, atol=1e-6) if isinstance(a, Tensor) else a == b for a, b in pairs)


# ---- refused --------------------------------------------------------------------------------------------------------


class InputBranch(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.flip(self.a(x)))

    def flip(self, h: Tensor) -> Tensor:
        return -h if h.mean() > 0 else h  # a comment


class InputNumpy(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.from_numpy(np.tanh(self.a(x).detach().numpy())))


class InPlaceThenBranch(Base):
    """The value is written into a tensor of the model's own, then read from there."""

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.zeros(3)
        seen[1] = x.sum()
        return self.b(x) if bool(seen[:2].any()) else self.a(x)[:, :2]


class Unique(Base):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.b(self.a(x)), x.long().unique()


class Sparse(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edges", torch.eye(6).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.sparse.mm(self.edges, self.a(x).t()).t())


class Size(Base):
    def forward(self, x: Tensor) -> int:
        return x.shape[0]


class Nothing(Base):
    def forward(self, x: Tensor) -> None:
        self.a(x)


class Own:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class OwnType(Base):
    def forward(self, x: Tensor) -> Own:
        return Own(self.b(self.a(x)))


class Elsewhere(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.a(x.cuda())


class Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


class OwnFunction(Sparse):
    """A forward that torch.export refuses, and that would crash the TorchScript converter."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(Function.apply(x))


REFUSED: dict[type[nn.Module], str] = {
    InputBranch: r"cannot trace InputBranch at test_fallbacks\.py:\d+ \(return -h if h\.mean\(\) > 0 else h  # a comm"
    r"ent\): what it does next depends on the values of the input\. .*torch\.where",
    InputNumpy: r"cannot trace InputNumpy at .*\.numpy\(\).*depends on the values of the input",
    InPlaceThenBranch: r"cannot trace InPlaceThenBranch at .*bool\(seen.*depends on the values of the input",
    Unique: r"size of what '_unique2' returns depends on the values of the input at test_fallbacks\.py:\d+",
    Sparse: r"cannot trace Sparse at test_fallbacks\.py:\d+ \(return self\.b\(torch\.sparse.*_sparse_addmm",
    Size: r"returns no tensor",
    Nothing: r"returns no tensor, but None\. There is nothing to split",
    OwnType: r"returns an object of type Own, which torch cannot take apart\. Return tensors, or .*dataclasses",
    OwnFunction: r"cannot trace OwnFunction at .*torch\.sparse",
    CountsSamples: r"depends on the others of its batch: mul mixes them at test_fallbacks\.py:\d+ \(return self\.b",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_taken_is_one_line(kind: type[nn.Module]) -> None:
    with pytest.raises(TraceError, match=REFUSED[kind]) as caught:
        trace(built(kind), numbers(2))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_absent_device_is_named() -> None:
    with pytest.raises(TraceError, match=r"Elsewhere at .*x\.cuda\(\).*needs a device that is absent here .*CPU"):
        trace(built(Elsewhere), numbers(2))


def test_weights_on_the_meta_device_are_refused() -> None:
    model = nn.Linear(6, 2, device="meta")
    with pytest.raises(TraceError, match=r"cannot trace Linear.*meta"):
        trace(model, numbers(2))


def test_classes_only_are_traced_with_a_note() -> None:
    graph = trace(nn.Sequential(nn.Linear(6, 3), ArgMax()).eval(), numbers(2))
    assert graph.notes == (
        "All that the model returns is int64: nothing of it can be differentiated, so return the scores.",
    )


class ArgMax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


# ---- no branch is frozen silently -----------------------------------------------------------------------------------


def test_torchscript_does_not_freeze_a_branch() -> None:
    model, inputs = built(InputBranch), ((numbers(2),), {})
    _, reads = reads_of(model, *inputs)
    with pytest.raises(TraceError, match="would freeze a branch"):
        _scripted(model, inputs, reads, "")


def test_a_graph_that_disagrees_is_not_accepted() -> None:
    """A graph of another model, which agrees for no input but zero."""
    model, other = built(Item), built(Float)
    refusal = TraceError("Refused.", "Change it.")

    def build(program: Any, notes: Any) -> PartitionGraph:
        return trace(other, numbers(2))

    assert not agrees(trace(other, numbers(2)), model, ((numbers(2),), {}))
    with pytest.raises(TraceError, match="Refused"):
        fall_back(model, ((numbers(2),), {}), build, refusal)


def test_agreement_is_asked_for_another_number_of_samples() -> None:
    model = built(CountsSamples)
    program = torch.export.export(model, (numbers(2),), strict=False)  # frozen at two samples
    frozen = trace(program)
    assert torch.equal(frozen(numbers(2)), model(numbers(2)))
    assert not agrees(frozen, model, ((numbers(2),), {}))


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_reads_know_whether_they_follow_the_input() -> None:
    class Reads(Base):
        def forward(self, x: Tensor) -> Tensor:
            own = [self.flag.item(), bool(self.scale > 0), torch.arange(x.shape[1]).tolist()]
            assert own
            written = self.widths.clone()
            written[0] = x.long().sum()
            return x * written.view(2)[1].item() + x.t().max().item()

    output, reads = reads_of(built(Reads), (numbers(2),), {})
    assert output.shape == (2, 6)
    assert [(r.key[0], r.from_input) for r in reads if r.key[0] != "item"] == [("__bool__", False), ("tolist", False)]
    assert [r.from_input for r in reads if r.key[0] == "item"] == [False, *[False] * 6, True, True]


def test_reading_leaves_inputs_alone() -> None:
    class Writes(Base):
        def forward(self, x: Tensor) -> Tensor:
            return self.a(x.mul_(2))

    x = numbers(2)
    reads_of(built(Writes), (x,), {})
    assert torch.equal(x, numbers(2))
