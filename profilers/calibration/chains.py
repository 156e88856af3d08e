"""Chains of random operators, as the stretches of a network: what a calibration times. No network is among them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from advisor.profilers.calibration.operators import Convolution, Operator, described

Shape = tuple[int, ...]

STAGES, MOTIF, REPEATS = 3, 6, 4
"""At most, of a chain: stages, draws that make up one, and how often they are repeated."""

ELEMENTS, WEIGHTS = 3.3e6, 1.1e8
"""The most of a tensor that is passed on, and of one operator's parameters: VGG's first map and first matrix."""

MACS = (2e6, 2e9)
"""The most of one operator, drawn chain by chain between these: most chains are of small operators, as networks are."""

SIDES = (224, 224, 224, 112, 112, 56, 56, 56, 64, 35, 32, 28, 28, 28, 17, 16, 14, 14, 14, 8, 7, 7, 7)
TOKENS = (16, 49, 50, 64, 128, 196, 197, 257, 784, 3136)


@dataclass(frozen=True)
class Step:
    """One operator of a chain.

    Attributes:
        name: the overload of `torch.ops.aten`, or "getitem".
        sources: indices of the values it takes; 0 is the chain's input, i + 1 what step i returns.
        held: shapes of its parameters.
        options: further arguments.
        shape: of what it returns, without batch.
        operator: kind and work.
    """

    name: str
    sources: tuple[int, ...]
    held: tuple[Shape, ...]
    options: tuple[Any, ...]
    shape: Shape
    operator: Operator


@dataclass(frozen=True)
class Chain:
    """Operators that take what the ones before them return.

    Attributes:
        shape: of its input, without batch.
        steps: in the order they run.
    """

    shape: Shape
    steps: tuple[Step, ...]


def chain(rng: random.Random, weights: float = math.inf) -> Chain:
    """Draw one: stages of a few operators that come again and again, as networks have them.

    What is repeated finds its code, and the memory that was just let go, in the caches, as in a network.

    Args:
        rng: draws it.
        weights: the most parameter elements of the whole chain.
    """
    drawing = _Drawing(rng, _start(rng), weights)
    for stage in range(rng.randint(1, STAGES)):
        if stage:
            _choice(rng, _BETWEEN if len(drawing.shape) == 3 else _ON_TOKENS)(drawing)
        members = _ON_MAPS if len(drawing.shape) == 3 else _ON_TOKENS
        motif = [(_choice(rng, members), rng.random()) for _ in range(rng.randint(2, MOTIF))]
        for repeat in range(rng.randint(2, REPEATS)):
            for place, (draw, seed) in enumerate(motif):
                drawing.again(random.Random(seed), (stage, place), repeat > 0)
                draw(drawing)
        drawing.again(rng, (stage, -1), False)
    return Chain(drawing.shapes[0], tuple(drawing.steps))


def _choice(rng: random.Random, members: list[tuple[Draw, float]]) -> Draw:
    return rng.choices([draw for draw, _ in members], [weight for _, weight in members])[0]


def _start(rng: random.Random) -> Shape:
    """A map, tokens, or one row of features."""
    kind = rng.random()
    if kind < 0.07:
        return (_near(rng, 64, 25088),)
    if kind < 0.32:
        tokens = rng.choice(TOKENS)
        return (tokens, 32 * max(1, _near(rng, 64, min(1280.0, ELEMENTS / 4 / tokens)) // 32))
    side = rng.choice(SIDES)
    if side == 224:
        return (rng.choice((3, 3, 3, 3, 16, 32, 64)), side, side)
    return (_width(rng, 8, min(2048.0, ELEMENTS / side**2)), side, side)


def _near(rng: random.Random, low: float, high: float) -> int:
    return round(math.exp(rng.uniform(math.log(low), math.log(max(low, high)))))


def _width(rng: random.Random, low: float, high: float) -> int:
    """Channels: mostly whole vectors, sometimes any even number."""
    exact, step = _near(rng, low, high), rng.choice((2, 8, 8, 16, 16, 32))
    return max(step, round(exact / step) * step)


def _usual(shape: Shape) -> float:
    """Multiply-adds that are always allowed: of a first layer, a 3×3 convolution or an MLP as networks have them."""
    each = max(600.0, 9.0 * shape[0]) if len(shape) == 3 else 4.0 * shape[-1]
    return each * math.prod(shape)


class _Drawing:
    """A chain as far as it is drawn; every draw adds its operators after the newest value, or none where none fits."""

    def __init__(self, rng: random.Random, shape: Shape, weights: float) -> None:
        self.rng, self.weights = rng, weights
        self.shapes: list[Shape] = [shape]
        self.steps: list[Step] = []
        self.now = 0
        self.most = max(math.exp(rng.uniform(*map(math.log, MACS))), min(MACS[1], _usual(shape)))
        self.place, self.repeated = (0, 0), False
        self.widths: dict[tuple[int, int], int] = {}

    def again(self, rng: random.Random, place: tuple[int, int], repeated: bool) -> None:
        """Choices come from `rng` from now on; those of a `place` are made once."""
        self.rng, self.place, self.repeated = rng, place, repeated

    @property
    def shape(self) -> Shape:
        return self.shapes[self.now]

    def add(
        self, name: str, shape: Shape, held: tuple[Shape, ...] = (), options: tuple[Any, ...] = (),
        sources: tuple[int, ...] = (), run: float = 1.0, view: bool = False,
    ) -> bool:  # fmt: skip
        """One operator; False, and nothing happens, where it is too large."""
        sources = sources or (self.now,)
        given = [self.shapes[i] for i in sources]
        weights = sum(map(math.prod, held))
        window = float(math.prod(options[0])) if name in ("max_pool2d.default", "avg_pool2d.default") else 1.0
        form = Convolution(*options) if name == "conv2d.default" else None
        read, written = float(sum(map(math.prod, given))), float(math.prod(shape))
        operator = described(name, held, given, read, written, float(weights), form, run, view, window)
        if operator.macs > self.most or written > ELEMENTS or weights > min(WEIGHTS, self.weights):
            return False
        self.weights -= weights
        self.steps.append(Step(name, sources, held, options, shape, operator))
        self.shapes.append(shape)
        self.now = len(self.steps)
        return True

    def same(self, name: str, held: tuple[Shape, ...] = (), options: tuple[Any, ...] = ()) -> None:
        self.add(name, self.shape, held, options)

    def earlier(self, fits: Callable[[Shape], bool]) -> list[int]:
        """Values that lie in memory as they are, other than the newest."""
        plain = [
            i for i in range(len(self.shapes)) if not i or self.steps[i - 1].operator.kind not in ("view", "chunk")
        ]
        return [i for i in plain if i != self.now and fits(self.shapes[i])]


Draw = Callable[[_Drawing], None]


# ---- on maps -------------------------------------------------------------------------------------------------------


def _convolve(d: _Drawing, groups: str = "one", window: int = 0, out: int = 0) -> None:
    rng, (channels, side, _) = d.rng, d.shape
    count, window = 1, window or rng.choice((1, 1, 1, 3, 3, 3, 5, 7))
    drawn = _width(rng, max(8, channels / 4), min(2048, channels * 4))
    out = out or d.widths.setdefault(d.place, drawn)
    if groups == "each":
        count, out, window = channels, channels, rng.choice((3, 3, 5, 7))
    elif groups == "some":
        count = rng.choice([n for n in (2, 4, 8, 16, 32) if channels % n == 0] or [1])
        out, window = max(1, out // count) * count, rng.choice((1, 3, 3))
    window = window if window <= side or groups != "one" else 1
    if window > side:
        return
    stride, padding = 2 if rng.random() < 0.2 and side > 7 and not d.repeated else 1, window // 2
    after, biased = (side + 2 * padding - window) // stride + 1, rng.random() < 0.4
    held = ((out, channels // count, window, window), *(((out,),) if biased else ()))
    d.add("conv2d.default", (out, after, after), held, ([stride] * 2, [padding] * 2, [1, 1], count))


def _norm(d: _Drawing) -> None:
    d.same("batch_norm.default", ((d.shape[0],),) * 4, (False, 0.1, 1e-5, True))


def _add(d: _Drawing) -> None:
    alike = d.earlier(lambda shape: shape == d.shape)
    if alike:
        d.add("add.Tensor", d.shape, sources=(d.now, d.rng.choice(alike)))


def _cat(d: _Drawing) -> None:
    alike = d.earlier(lambda shape: len(shape) == 3 and shape[1:] == d.shape[1:])
    taken = (d.now, *d.rng.sample(alike, min(len(alike), d.rng.randint(1, 3))))
    if alike:
        d.add("cat.default", (sum(d.shapes[i][0] for i in taken), *d.shape[1:]), options=(1,), sources=taken)


def _pool(d: _Drawing, name: str) -> None:
    channels, side, _ = d.shape
    window, stride = d.rng.choice((2, 3, 3)), d.rng.choice((1, 2, 2))
    if d.repeated:
        stride = 1
    if side > 4:
        after = (side + 2 * (window // 2) - window) // stride + 1
        d.add(name, (channels, after, after), options=([window] * 2, [stride] * 2, [window // 2] * 2))


def _mean(d: _Drawing) -> None:
    """A mean that the rest of the chain does not take: the map is still there."""
    kept, channels = d.now, d.shape[0]
    if d.rng.random() < 0.5:
        d.add("mean.dim", (channels,), options=([2, 3],))
    else:
        d.add("adaptive_avg_pool2d.default", (channels, 1, 1), options=([1, 1],))
    d.now = kept


def _gate(d: _Drawing) -> None:
    """Squeeze and excite."""
    kept, channels = d.now, d.shape[0]
    d.add("adaptive_avg_pool2d.default", (channels, 1, 1), options=([1, 1],))
    _convolve(d, window=1, out=max(8, channels // d.rng.choice((4, 16))))
    d.same(d.rng.choice(("relu.default", "silu.default")))
    _convolve(d, window=1, out=channels)
    d.same(d.rng.choice(("sigmoid.default", "hardsigmoid.default")))
    gate, d.now = d.now, kept
    if d.shapes[gate] == (channels, 1, 1):
        d.add("mul.Tensor", d.shape, sources=(kept, gate))


def _shuffle(d: _Drawing) -> None:
    channels, side, _ = d.shape
    if channels % 2 == 0:
        d.add("view.default", (2, channels // 2, side, side), options=([1, 2, channels // 2, side, side],), view=True)
        d.add("transpose.int", (channels // 2, 2, side, side), options=(1, 2), view=True)
        d.add("contiguous.default", d.shape, run=float(side * side))
        d.add("view.default", (channels, side, side), options=([1, channels, side, side],), view=True)


def _halve(d: _Drawing) -> None:
    if d.shape[0] % 2 == 0 and d.shape[0] > 16:
        d.add("chunk.default", d.shape, options=(2, 1), view=True)
        d.add("getitem", (d.shape[0] // 2, *d.shape[1:]), options=(d.rng.choice((0, 1)),), view=True)


def _to_tokens(d: _Drawing) -> None:
    channels, side, _ = d.shape
    if side <= 56 and channels >= 32:
        d.add("flatten.using_ints", (channels, side * side), options=(2,), view=True)
        d.add("transpose.int", (side * side, channels), options=(1, 2), view=True)
        d.add("contiguous.default", d.shape)


def _to_row(d: _Drawing) -> None:
    if math.prod(d.shape) <= 25088:
        d.add("flatten.using_ints", (math.prod(d.shape),), options=(1,), view=True)


def _elementwise(name: str, *options: Any) -> Draw:
    return lambda d: d.same(name, options=options)


_EVERYWHERE: list[tuple[Draw, float]] = [
    (_elementwise("relu.default"), 1.4), (_elementwise("gelu.default"), 0.7), (_elementwise("silu.default"), 0.7),
    (_elementwise("sigmoid.default"), 0.4), (_add, 1.5),
]  # fmt: skip
_ON_MAPS: list[tuple[Draw, float]] = [
    *_EVERYWHERE, (_convolve, 11.0), (lambda d: _convolve(d, "each"), 1.8), (lambda d: _convolve(d, "some"), 1.0),
    (_norm, 1.6), (_elementwise("hardtanh.default", 0.0, 6.0), 0.7), (_elementwise("hardswish.default"), 0.7),
    (_cat, 1.8), (lambda d: _pool(d, "max_pool2d.default"), 0.6), (lambda d: _pool(d, "avg_pool2d.default"), 0.4),
    (_mean, 0.4), (_gate, 0.4), (_shuffle, 0.7), (_halve, 0.4),
]  # fmt: skip
_BETWEEN: list[tuple[Draw, float]] = [
    (lambda d: _pool(d, "max_pool2d.default"), 2.0), (_convolve, 3.0), (_to_tokens, 1.0), (_to_row, 1.5),
]  # fmt: skip


# ---- on tokens -----------------------------------------------------------------------------------------------------


def _linear(d: _Drawing) -> None:
    features = d.shape[-1]
    out = d.rng.choice((features, 4 * features, features // 4, _near(d.rng, 10, 4096)))
    out = max(8, min(out, 4096))
    d.add("linear.default", (*d.shape[:-1], out), ((out, features), (out,)))


def _layer_norm(d: _Drawing) -> None:
    d.same("layer_norm.default", ((d.shape[-1],),) * 2, ([d.shape[-1]],))


def _attend(d: _Drawing) -> None:
    """Query, key and value from one product, heads apart, and back."""
    if len(d.shape) != 2 or d.shape[0] > 800 or d.shape[1] % 32:
        return
    tokens, features = d.shape
    inner = 64 if features % 64 == 0 and d.rng.random() < 0.7 else 32
    heads = features // inner
    if not d.add("linear.default", (tokens, 3 * features), ((3 * features, features), (3 * features,))):
        return
    product = d.now
    d.add("view.default", (tokens, 3, heads, inner), options=([1, tokens, 3, heads, inner],), view=True)
    d.add("permute.default", (3, heads, tokens, inner), options=([0, 2, 3, 1, 4],), view=True)
    together = d.now
    parts = []
    for i in range(3):
        d.now = together
        d.add("select.int", (heads, tokens, inner), options=(1, i), view=True)
        parts.append(d.now)
    if d.add("scaled_dot_product_attention.default", (heads, tokens, inner), sources=tuple(parts)):
        d.add("transpose.int", (tokens, heads, inner), options=(1, 2), view=True)
        d.add("reshape.default", (tokens, features), options=([1, tokens, features],), run=float(inner))
    else:
        d.now = product


_ON_TOKENS: list[tuple[Draw, float]] = [*_EVERYWHERE, (_linear, 4.0), (_layer_norm, 1.5), (_attend, 3.0)]
