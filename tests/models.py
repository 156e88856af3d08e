"""A zoo of nasty small nets; each carries its own expected numbers, worked out by hand from its forward."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from advisor.graph import PartitionGraph
from advisor.tracing.tracer import trace

# ---- shapes of graphs -------------------------------------------------------------------------------------------


class Chain(nn.Module):
    """A convolutional net as everyone writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.act(self.bn(self.conv(x)))).flatten(1))


class Residual(nn.Module):
    """Skips: nothing inside the block is a cut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.body(x)
        return self.head(F.relu(x))


class Dense(nn.Module):
    """Concatenation of everything before: the input itself stays alive."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 4)
        self.b = nn.Linear(10, 4)
        self.c = nn.Linear(14, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.a(x)], 1)
        x = torch.cat([x, torch.tanh(self.b(x))], 1)
        return self.c(x)


class SharedModule(nn.Module):
    """One module called three times, one weight used by two."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.act = nn.GELU()
        self.tied = nn.Linear(6, 6, bias=False)
        self.tied.weight = self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.layer(x))
        x = self.act(self.layer(x))
        return self.tied(self.act(self.layer(x)))


class TwoBranches(nn.Module):
    """Two branches that meet again, and one that nobody needs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.dead = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.dead(x)
        return self.head(self.left(x).relu() * self.right(x).sigmoid())


class Functional(nn.Module):
    """No submodule at all: parameters used by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 6))
        self.v = nn.Parameter(torch.randn(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(F.linear(F.silu(F.linear(x, self.w)), self.v), dim=-1)


class NoOps(nn.Module):
    """Identity, dropout and a Sequential of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.nothing = nn.Sequential(nn.Identity(), nn.Sequential())
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.nothing(self.first(x))))


class EndNames(nn.Module):
    """Modules called like the two ends."""

    def __init__(self) -> None:
        super().__init__()
        self.input, self.output, self.last = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.output(self.input(x)))


# ---- writes in place --------------------------------------------------------------------------------------------


class WritesInput(nn.Module):
    """Overwrites its own input."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2).clamp_(-1, 1)
        return self.a(x)


class WritesView(nn.Module):
    """Writes through a view, and reads what it is a view of."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y[:, :3].mul_(0.5)
        y[:, 0] = 1.0
        return self.b(y)


class WritesBuffer(nn.Module):
    """Counts its calls in a buffer, and keeps a running mean that the output needs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 4)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("scale", torch.full((4,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.a(x) * self.scale


class PromotesInPlace(nn.Module):
    """An in-place sum keeps bfloat16 although it adds float32."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 3).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        half = y.to(torch.bfloat16)
        half += y
        return self.b(half)


# ---- inputs and outputs -----------------------------------------------------------------------------------------


class TwoInputs(nn.Module):
    """Two tensors by position."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 4), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.relu(self.left(left) + self.right(right)))


class Keywords(TwoInputs):
    """Two tensors by name, the second with a default."""

    def forward(self, left: Tensor, *, right: Tensor | None = None) -> Tensor:
        return super().forward(left, left[:, :3] if right is None else right)


class Nested(TwoInputs):
    """One dict that holds a tensor and a list."""

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return super().forward(batch["left"], batch["right"][0] + batch["right"][1])


class Towers(nn.Module):
    """Two inputs that never meet, two outputs, in another order than computed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.a(x), self.b(y)
        return second.relu(), first


class DictOutput(nn.Module):
    """Logits and features by name, and a number that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> dict[str, Any]:
        features = self.a(x).relu()
        return {"logits": self.b(features), "features": features, "temperature": 0.5}


@dataclass
class Answer:
    """What a transformers model returns: a type of its own that the user registered."""

    logits: Tensor
    hidden: tuple[Tensor, ...] = ()


torch.export.register_dataclass(Answer, serialized_type_name="tests.models.Answer")


class DataclassOutput(DictOutput):
    """Returns a registered dataclass."""

    def forward(self, x: Tensor) -> Answer:
        features = self.a(x)
        return Answer(self.b(features.tanh()), (features,))


class Sizes(nn.Module):
    """Returns sizes beside a tensor, and uses them."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        y = self.a(x) / x.shape[1]
        return y.reshape(x.shape[0] * 2, 2).reshape(-1, 4), x.shape[0] * 2, x.shape[1]


# ---- layers with a life of their own ----------------------------------------------------------------------------


class Recurrent(nn.Module):
    """An LSTM after a GRU; the last state decides."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.lstm = nn.LSTM(5, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.gru(x)
        _, (hidden, _) = self.lstm(x)
        return self.head(hidden[-1])


class TimeFirst(nn.Module):
    """Time leads, the batch is the second dimension: nothing inside is a legal cut."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.transpose(0, 1))[0].mean(0))


class Attention(nn.Module):
    """nn.MultiheadAttention, then an encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.head(self.encoder(y).mean(1))


class WindowMask(nn.Module):
    """A mask made with new_zeros and written in place, as Swin makes its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        mask = y.new_zeros(6)
        mask[2:4] = -1.0
        return self.b(y + mask.unsqueeze(0))


class Tokens(nn.Module):
    """Integers in, position ids from arange, a causal mask from tril."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 8), nn.Embedding(5, 8)
        self.head = nn.Linear(8, 11)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        scores = x @ x.transpose(1, 2)
        causal = torch.tril(torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool))
        return self.head(F.softmax(scores.masked_fill(~causal, -1e9), -1) @ x)


class NoGrad(nn.Module):
    """A frozen backbone: a region without gradients, another inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.a(x)
            with torch.enable_grad():
                z = self.b(y).relu()
            y = y + z
        return self.c(y)


class Autocast(nn.Module):
    """A region in bfloat16, with a float32 island."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.a(x)
            with torch.autocast("cpu", enabled=False):
                y = y.float() * 2
            y = self.a(y)
        return self.b(y.float())


class ArgMax(nn.Module):
    """Returns classes: nothing differentiable comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Embedding(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).argmax(1)).argmax(1)


class HardBatch(nn.Module):
    """Freezes the batch it was traced with."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu().view(int(x.shape[0]), -1))


class Fourier(nn.Module):
    """Complex numbers on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft(x) * 1.5
        return self.a(torch.view_as_real(z).flatten(1))


# ---- what cannot be traced --------------------------------------------------------------------------------------


class ValueBranch(nn.Module):
    """Control flow that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if self.positive(x) else -self.a(x)

    def positive(self, x: Tensor) -> bool:
        return bool(x.sum() > 0)  # the line to name


class ValueSize(nn.Module):
    """A size that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x[x[:, 0] > 0])  # the line to name


class NeedsGPU(nn.Module):
    """Moves to a device that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x.to("cuda:7"))


class Constant(nn.Module):
    """Ignores its input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(2)


# ---- the list ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Specimen:
    """One net of the zoo and what must come out.

    Attributes:
        make: builds it; the seed is set before.
        inputs: the user's inputs for so many samples.
        cuts: all cut names.
        params: elements of all parameters that the output needs, shared ones once.
        broken: where forward mode ends: a word of the reason; "" where every cut has tangents.
        fixed: the frozen batch, None where it is dynamic.
        writes_input: the model overwrites its own input, so that it must be given a copy.
    """

    make: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    cuts: tuple[str, ...]
    params: int
    broken: str = ""
    fixed: int | None = None
    writes_input: bool = False

    def model(self) -> nn.Module:
        """The net in eval mode, the same each time."""
        torch.manual_seed(0)
        model = self.make()
        for buffer_owner in model.modules():
            if isinstance(buffer_owner, nn.BatchNorm2d):
                nn.init.normal_(buffer_owner.running_mean)
                nn.init.uniform_(buffer_owner.running_var, 0.5, 2.0)
        return model.eval()


def call(module: nn.Module, x: Any) -> Any:
    """Call a model or a half as a user would: a tuple is several arguments, a dict names them."""
    if isinstance(x, dict):
        return module(**x)
    return module(*x) if isinstance(x, tuple) else module(x)


def vectors(*widths: int) -> Callable[[int], Any]:
    """Inputs `[N, width]`, one or a tuple of several."""

    def make(n: int) -> Any:
        generator = torch.Generator().manual_seed(n)
        made = tuple(torch.randn(n, width, generator=generator) for width in widths)
        return made if len(made) > 1 else made[0]

    return make


def arrays(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[int], Tensor]:
    """Inputs `[N, *shape]`."""
    return lambda n: torch.randn(n, *shape, generator=torch.Generator().manual_seed(n)).to(dtype)


def named(n: int) -> dict[str, Tensor]:
    """Two inputs by name."""
    left, right = vectors(6, 3)(n)
    return {"left": left, "right": right}


def nested(n: int) -> tuple[dict[str, Any]]:
    """One argument: a dict that holds a list."""
    left, one, two = vectors(6, 3, 3)(n)
    return ({"left": left, "right": [one, two]},)


def tokens(n: int) -> Tensor:
    """Integers `[N, 5]` below 11."""
    return torch.randint(0, 11, (n, 5), generator=torch.Generator().manual_seed(n))


def channels_last(n: int) -> Tensor:
    """Images in channels-last memory."""
    return arrays(3, 6, 6)(n).to(memory_format=torch.channels_last)


_CHAIN = ("input", "conv", "bn", "act", "pool", "flatten", "output")
_ENCODER = (
    "input", "attention/scaled_dot_product_attention", "attention", "encoder/add", "encoder.norm1", "encoder/add#2",
    "encoder.norm2", "mean", "output",
)  # fmt: skip

ZOO: dict[str, Specimen] = {
    "chain": Specimen(Chain, arrays(3, 6, 6), _CHAIN, 112 + 8 + 85),
    "half": Specimen(lambda: Chain().half(), arrays(3, 6, 6, dtype=torch.float16), _CHAIN, 205),
    "bfloat16": Specimen(lambda: Chain().bfloat16(), arrays(3, 6, 6, dtype=torch.bfloat16), _CHAIN, 205),
    "float64": Specimen(lambda: Chain().double(), arrays(3, 6, 6, dtype=torch.float64), _CHAIN, 205),
    "channels_last": Specimen(lambda: Chain().to(memory_format=torch.channels_last), channels_last, _CHAIN, 205),
    "residual": Specimen(Residual, arrays(3, 5, 5), ("input", "stem", "add", "relu", "output"), 112 + 296 + 10),
    "dense": Specimen(Dense, vectors(6), ("input", "cat", "cat#2", "output"), 28 + 44 + 45),
    "shared": Specimen(
        SharedModule, vectors(6), ("input", "layer", "act", "layer#2", "act#2", "layer#3", "act#3", "output"), 42
    ),
    "branches": Specimen(TwoBranches, vectors(6), ("input", "mul", "output"), 28 + 28 + 10),
    "functional": Specimen(Functional, vectors(6), ("input", "linear", "silu", "linear#2", "output"), 48 + 16),
    "no_ops": Specimen(NoOps, vectors(6), ("input", "first", "drop", "output"), 42 + 14),
    "end_names": Specimen(EndNames, vectors(6), ("input", "input#2", "output#2", "output"), 35 + 24 + 15),
    "writes_input": Specimen(WritesInput, vectors(6), ("input", "mul", "clamp", "output"), 28, writes_input=True),
    "writes_view": Specimen(
        WritesView, vectors(6), ("input", "a", "slice_scatter#2", "slice_scatter#3", "output"), 42 + 21
    ),
    "writes_buffer": Specimen(WritesBuffer, vectors(6), ("input", "a", "output"), 28),
    "promotes": Specimen(PromotesInPlace, vectors(6), ("input", "a", "add", "to#2", "output"), 28 + 15),
    "two_inputs": Specimen(TwoInputs, vectors(6, 3), ("input", "add", "relu", "output"), 28 + 16 + 10),
    "keywords": Specimen(Keywords, named, ("input", "add", "relu", "output"), 54),
    "nested": Specimen(Nested, nested, ("input", "add#2", "relu", "output"), 54),
    "towers": Specimen(Towers, vectors(6, 3), ("input", "output"), 28 + 16),
    "dict_output": Specimen(DictOutput, vectors(6), ("input", "a", "relu", "output"), 28 + 10),
    "dataclass_output": Specimen(DataclassOutput, vectors(6), ("input", "a", "output"), 38),
    "sizes": Specimen(Sizes, vectors(6), ("input", "a", "div", "output"), 28),
    "recurrent": Specimen(Recurrent, arrays(7, 4), ("input", "gru", "select", "output"), 165 + 312 + 21),
    "time_first": Specimen(TimeFirst, arrays(7, 4), ("input", "mean", "output"), 288 + 21),
    "attention": Specimen(Attention, arrays(5, 8), _ENCODER, 288 + 600 + 27),
    "window_mask": Specimen(WindowMask, vectors(6), ("input", "a", "add", "output"), 42 + 14),
    "tokens": Specimen(
        Tokens, tokens, ("input", "words", "add", "matmul#2", "output"), 88 + 40 + 99, broken="input ids is int64"
    ),
    "no_grad": Specimen(NoGrad, vectors(6), ("input", "a", "add", "output"), 42 + 42 + 14),
    "autocast": Specimen(
        Autocast, vectors(6), ("input", "to", "linear", "to#2", "mul", "to#3", "linear#2", "to#4", "output"), 42 + 14
    ),
    "argmax": Specimen(
        ArgMax, vectors(6), ("input", "a", "argmax", "b", "output"), 42 + 12, broken="argmax returns int64"
    ),
    "hard_batch": Specimen(HardBatch, arrays(2, 4, 4), ("input", "a", "relu", "view", "output"), 57 + 26, fixed=1),
    "fourier": Specimen(Fourier, vectors(8), ("input", "fft_rfft", "mul", "view_as_real", "flatten", "output"), 33),
}
"""Names of nets, and what they are known to be."""


@functools.cache
def traced(name: str) -> PartitionGraph:
    """A net of the zoo, traced with two samples; the same graph for all tests."""
    return trace(ZOO[name].model(), ZOO[name].inputs(2))


def equal(first: Any, second: Any) -> bool:
    """Bit for bit, structure included."""
    (a, a_structure), (b, b_structure) = pytree.tree_flatten(first), pytree.tree_flatten(second)
    return a_structure == b_structure and all(map(_same, a, b))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return type(a) is type(b) and bool(a == b)
