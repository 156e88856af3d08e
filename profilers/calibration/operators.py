"""Operators one by one: their kind, their work, and their shape, as a calibration measures and predicts them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from advisor.profilers.multiply_adds.counting import macs_of
from advisor.profilers.published.features import item_size, recurrent_steps

if TYPE_CHECKING:
    from torch import fx

    from advisor.graph import PartitionGraph

KINDS = (
    "conv", "conv_gemm", "depthwise", "grouped", "linear", "row", "attention", "norm", "layer_norm", "pass", "clamp",
    "hardswish", "gelu", "silu", "sigmoid", "add", "cat", "max_pool", "avg_pool", "reduce", "copy", "view", "chunk",
)  # fmt: skip
"""What is timed apart: convolutions by their groups and by what PyTorch hands them to (a library such as oneDNN, or its
own unfolding and matrix product), matrix products, those of one row (where every weight is read for one multiply-add),
normalisations, elementwise ones that merely pass over the data, curves by their cost, operations on two tensors,
windows, means, copies in another order, views, which cost their call alone, and views that come as a list."""

CACHE = 1e6
"""Bytes that go by before what a core holds of something is half gone: the order of a core's own cache."""

_PRODUCT = 8.0
"""Multiply-adds for each element written, above which an operation is a product; normalisations have five."""

_BY_NAME = (
    ("einsum", "pass"), ("hardtanh", "clamp"), ("clamp", "clamp"), ("expand", "pass"),
    ("scaled_dot_product_attention", "attention"),
    ("conv", "conv"), ("linear", "linear"), ("addmm", "linear"),
    ("layer_norm", "layer_norm"), ("group_norm", "layer_norm"), ("rms_norm", "layer_norm"), ("batch_norm", "norm"),
    ("adaptive", "reduce"), ("max_pool", "max_pool"), ("avg_pool", "avg_pool"), ("mean", "reduce"), ("sum", "reduce"),
    ("cat", "cat"), ("stack", "cat"), ("gelu", "gelu"), ("silu", "silu"), ("hardsigmoid", "hardswish"),
    ("hardswish", "hardswish"), ("sigmoid", "sigmoid"), ("softmax", "sigmoid"), ("tanh", "sigmoid"), ("exp", "sigmoid"),
    ("erf", "gelu"), ("mish", "silu"), ("add", "add"), ("mul", "add"), ("sub", "add"), ("div", "add"),
    ("matmul", "attention"), ("bmm", "attention"), ("contiguous", "copy"), ("clone", "copy"), ("reshape", "copy"),
    ("transpose", "view"), ("view", "view"), ("chunk", "chunk"), ("split", "chunk"), ("unbind", "chunk"),
)  # fmt: skip


@dataclass(frozen=True)
class Convolution:
    """How a window moves: a number a dimension each, and groups."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int


@dataclass(frozen=True)
class Operator:
    """One operator for one sample.

    Attributes:
        kind: one of `KINDS`.
        macs: multiply-adds; of a pool, comparisons or additions; of a copy, how many stretches it copies.
        read, written: activation elements.
        weights: parameter elements.
        channels: that one multiply-add chain runs over: input channels a group, or features; of a copy, how many
            elements lie together in what it reads.
        kernel: positions of a window.
        code: what is executed, so that operators of one code find it in the caches.
        since, near: bytes that others moved since this code last ran, and that the operator before moved: the more,
            the colder the caches. A call of two microseconds takes twenty when its code comes from memory.
    """

    kind: str
    macs: float
    read: float
    written: float
    weights: float
    channels: float = 1.0
    kernel: float = 1.0
    code: str = ""
    since: float = 0.0
    near: float = 0.0

    def row(self, item_size: int = 4) -> tuple[float, ...]:
        """Factors of the roofline's parameters: calls, multiply-adds, bytes of activations, of weights, cold calls."""
        moved = item_size * (self.read + self.written), item_size * self.weights
        return 1.0, self.macs, *moved, *(gone / (gone + CACHE) for gone in (self.since, self.near))

    def point(self) -> tuple[float, ...]:
        """Where it lies among others of its kind: logarithms, about one apart for neighbours."""
        sizes = (self.macs, self.read, self.written, self.weights, self.channels, self.kernel)
        return tuple(0.5 * math.log(1.0 + size) for size in (*sizes, self.since / 1e4, self.near / 1e4))

    @property
    def moved(self) -> float:
        """Bytes that go through the caches; a window that is unfolded is written out and read."""
        read = self.read * self.kernel if self.kind == "conv_gemm" else self.read
        return 4.0 * (read + self.written + self.weights)


def in_turn(members: Sequence[Operator]) -> list[Operator]:
    """Operators that run one after the other, again and again, with what goes by between them."""
    last: dict[str, float] = {}
    found, gone = list[Operator](), 0.0
    for _ in range(2):  # the first time round tells what is left of it
        found = []
        for one in members:
            before = members[len(found) - 1].moved if len(members) > 1 else 0.0
            found.append(replace(one, since=gone - last.get(one.code, 0.0), near=before))
            gone += one.moved
            last[one.code] = gone
    return found


def operators(graph: PartitionGraph) -> list[list[Operator]]:
    """The operators between cut i - 1 and cut i, as entry i; asking for a size costs what a view does."""
    pieces = [[node for node in graph.piece_nodes(i) if "aten" in str(node.target)] for i in range(1, len(graph.cuts))]
    calls = [[call for node in nodes for call in _calls(graph, node)] for nodes in pieces]
    flat = iter(in_turn([call for members in calls for call in members]))
    return [[], *([next(flat) for _ in members] for members in calls)]


def _calls(graph: PartitionGraph, node: fx.Node) -> list[Operator]:
    """What a node runs: of a recurrent layer one product a step, as each waits for the one before."""
    one = operator(graph, node)
    macs = macs_of(graph, node) or 0.0 if one.kind in ("pass", "add") and not one.macs else 0.0
    if macs <= _PRODUCT * one.written:
        return [one]
    steps, layers = recurrent_steps(node)
    if steps == 0:
        channels = macs / one.written
        return [replace(one, kind="row" if one.read <= channels else "linear", macs=macs, channels=channels)]
    times, weights = steps * layers, one.weights / layers
    written = one.written / times
    step = replace(one, kind="row", macs=macs / times, written=written, weights=weights, channels=weights / written)
    return [replace(step, read=step.channels)] * times


def operator(graph: PartitionGraph, node: fx.Node) -> Operator:
    """Kind and work of one node, as if nothing went by between operators."""
    if graph.value_bytes(node) == 0:
        return described(str(node.target), [], [], 0.0, 0.0, 0.0, view=True)
    written = graph.value_bytes(node) / item_size(node)
    held = [graph.constant(source) for source in node.all_input_nodes if source.op == "get_attr"]
    read = sum(_elements(graph, source) for source in node.all_input_nodes if source.op != "get_attr")
    weights = float(sum(tensor.numel() for tensor in held))
    shapes = [tuple(tensor.shape) for tensor in held]
    run = _run(graph, node) if _kind(str(node.target)) == "copy" else 1.0
    return described(
        str(node.target), shapes, _shapes(graph, node), read, written, weights, _convolution(node, shapes), run,
        window=_window(node),
    )  # fmt: skip


def described(
    name: str,
    held: Sequence[Sequence[int]],
    given: Sequence[Sequence[int]],
    read: float,
    written: float,
    weights: float,
    form: Convolution | None = None,
    run: float = 1.0,
    view: bool = False,
    window: float = 1.0,
) -> Operator:
    """An operator from its name and shapes.

    Args:
        name: as torch names it, such as "aten.conv2d.default".
        held: shapes of its parameters, the matrix or kernel first.
        given: shapes of its activations, without the batch.
        read, written, weights: elements.
        form: of a convolution.
        run: elements that lie together in what a copy reads.
        view: whether it only looks at its input in another way.
        window: positions of a pool's.
    """
    kind, macs, channels = _kind(name), 0.0, 1.0
    if view or kind in ("view", "chunk"):
        kind, read, written, weights = "chunk" if kind == "chunk" else "view", 0.0, 0.0, 0.0
    elif kind == "conv" and held:
        transposed, window = "transpose" in name, math.prod(held[0][2:])
        channels = held[0][0 if transposed else 1]
        kind, macs = _engine(held[0], given[0], form), (read if transposed else written) * held[0][1] * window
    elif kind == "linear" and held:
        channels, macs = held[0][-1], written * held[0][-1]
        kind = "row" if read == channels else kind
    elif kind == "attention" and len(given) > 1:
        channels, keys = given[0][-1], given[1][-2] if len(given[1]) > 1 else 1
        macs = (2.0 if len(given) > 2 else 1.0) * math.prod(given[0]) * keys
    elif kind in ("max_pool", "avg_pool"):
        macs = written * window
    elif kind == "copy":
        channels, macs = run, written / max(run, given[0][-1] if given and given[0] else 1.0)
    elif kind in ("conv", "linear", "attention"):
        kind = "add"
    code = f"{name.removeprefix('aten.')} {kind}"
    return Operator(kind, macs, read, written, weights, float(channels), float(window), code)


def _kind(name: str) -> str:
    return next((kind for part, kind in _BY_NAME if part in name), "pass")


def _engine(kernel: Sequence[int], image: Sequence[int], form: Convolution | None) -> str:
    """A convolution's kind: by its groups, and by what PyTorch hands it to with the present number of threads."""
    import torch

    groups = form.groups if form else 1
    if groups > 1:
        return "depthwise" if kernel[1] == 1 else "grouped"
    if form is None or len(image) != len(kernel) - 1:
        return "conv"
    sizes = (tuple(kernel), tuple(image), tuple(form.stride), tuple(form.padding), tuple(form.dilation))
    return "conv_gemm" if _slow(*sizes, torch.get_num_threads()) else "conv"


@cache
def _slow(
    kernel: tuple[int, ...], image: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...],
    dilation: tuple[int, ...], _threads: int,
) -> bool:  # fmt: skip
    """Whether PyTorch unfolds and multiplies, which it calls slow and prefers where little is to be done."""
    import torch

    one, weight = torch.empty(1, *image), torch.empty(kernel)
    places = (list(stride), list(padding), list(dilation), False, [0] * len(stride), 1)
    return "Slow" in str(torch._C._select_conv_backend(one, weight, None, *places))


def _convolution(node: fx.Node, held: Sequence[Sequence[int]]) -> Convolution | None:
    """Of a node, where it is one."""
    if "conv" not in str(node.target) or "transpose" in str(node.target) or not held:
        return None
    rank = len(held[0]) - 2
    given = [*node.args[3:7], *([1, 0, 1, 1][len(node.args[3:7]) :])]
    stride, padding, dilation = (_each(value, rank) for value in given[:3])
    return Convolution(stride, padding, dilation, given[3] if isinstance(given[3], int) else 1)


def _window(node: fx.Node) -> float:
    """Positions of a pool's window; 1 of what is none, or of one that adapts to its input."""
    if "_pool" not in str(node.target) or "adaptive" in str(node.target):
        return 1.0
    rank = 3 if "pool3d" in str(node.target) else 1 if "pool1d" in str(node.target) else 2
    return float(math.prod(_each(node.args[1], rank)))


def _each(value: object, rank: int) -> list[int]:
    """A number a dimension; padding by name changes no choice, as sizes are what counts."""
    numbers = [v for v in value if isinstance(v, int)] if isinstance(value, list | tuple) else [value]
    found = [v for v in numbers if isinstance(v, int)] or [0]
    return found if len(found) == rank else found[:1] * rank


def _run(graph: PartitionGraph, node: fx.Node) -> float:
    """Elements that lie together in what a copy reads."""
    source = node.all_input_nodes[0]
    value, spec = source.meta.get("val"), graph.spec(source, strict=False)
    if value is None or spec is None:
        return 1.0
    run = 1
    for size, stride in zip(reversed(spec.shape), reversed(value.stride()), strict=False):
        if size > 1 and stride != run:
            break
        run *= size
    return float(run)


def _elements(graph: PartitionGraph, node: fx.Node) -> float:
    spec = graph.spec(node, strict=False)
    return 0.0 if spec is None else float(math.prod(spec.shape))


def _shapes(graph: PartitionGraph, node: fx.Node) -> list[tuple[int, ...]]:
    from torch import fx

    given = [source for source in node.args if isinstance(source, fx.Node) and source.op != "get_attr"]
    specs = [graph.spec(source, strict=False) for source in given]
    return [tuple(spec.shape) for spec in specs if spec is not None]
