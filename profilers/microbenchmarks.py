"""Operators of many shapes, timed on this machine: what a calibration learns from. No network is among them."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from advisor.profilers import agent
from advisor.profilers.operators import KINDS, Operator, described

COLD_BYTES = 48 * 2**20
"""In a network every weight is read once a pass: copies of the weights, so many bytes together, are used in turn."""

MAX_MACS, MAX_ELEMENTS, MAX_WEIGHTS = 1.5e9, 4e6, 2.6e7
SHARE = {"conv": 12.0, "linear": 3.0, "depthwise": 3.0, "grouped": 2.0, "attention": 2.0}
"""How much of the time goes to each kind, 1 where not said: convolutions vary most."""

Timed = tuple[Operator, float]
Call = Callable[[int], Any]


def timed(seconds: float, seed: int = 0, told: Callable[[float], None] | None = None) -> list[Timed]:
    """Operators with their median seconds.

    Args:
        seconds: how long to measure.
        seed: of the shapes.
        told: given the share of the time that is used.
    """
    import torch

    rng, found, start = random.Random(seed), [], time.perf_counter()
    turns = [kind for kind in KINDS for _ in range(int(SHARE.get(kind, 1.0)))]
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for kind in _for(seconds, start, turns, rng, told):
            name, given, held, options, groups = shape_of(kind, rng)
            operator, call = _built(torch, noise, name, given, held, options, groups)
            found.append((operator, _median(call)))
    return found


def _for(
    seconds: float, start: float, turns: list[str], rng: random.Random, told: Callable[[float], None] | None
) -> Iterator[str]:
    while True:
        for kind in rng.sample(turns, len(turns)):
            used = (time.perf_counter() - start) / max(seconds, 1e-9)
            if told:
                told(min(1.0, used))
            if used >= 1:
                return
            yield kind


def _median(call: Call) -> float:
    """Of 5 to 25 calls, within a twentieth of a second."""
    for i in range(2):
        call(i)
    samples: list[float] = []
    begun = time.perf_counter()
    while len(samples) < 25 and (len(samples) < 5 or time.perf_counter() - begun < 0.05):
        before = time.perf_counter()
        call(len(samples))
        samples.append(time.perf_counter() - before)
    return agent.interval(samples)[0]


Shapes = list[tuple[int, ...]]
Maker = Callable[[random.Random], tuple[str, Shapes, Shapes, tuple[Any, ...], int]]


def shape_of(kind: str, rng: random.Random) -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
    """Operator name, activation shapes without batch, parameter shapes, further arguments and groups."""
    while True:
        found = _SHAPES[kind](rng)
        name, given, held, options, groups = found
        macs = _operator(name, given, held, _written(name, given, held, options), groups).macs
        sizes = sum(math.prod(s) for s in given), sum(math.prod(s) for s in held)
        if macs <= MAX_MACS and sizes[0] <= MAX_ELEMENTS and sizes[1] <= MAX_WEIGHTS:
            return found


def _channels(rng: random.Random, low: int = 8, high: int = 2048) -> int:
    exact = math.exp(rng.uniform(math.log(low), math.log(high)))
    return max(low, round(exact / 8) * 8)


def _side(rng: random.Random) -> int:
    return rng.choice((1, 7, 7, 8, 14, 14, 16, 28, 28, 32, 56, 56, 64, 112, 112, 224))


def _conv(rng: random.Random, groups: str = "one") -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
    window, stride = rng.choice((1, 1, 3, 3, 3, 5, 7)), rng.choice((1, 1, 1, 2))
    side = max(window, _side(rng))
    channels, out = rng.choice((3, _channels(rng), _channels(rng), _channels(rng))), _channels(rng)
    count = 1
    if groups == "each":
        channels = out = _channels(rng, 16, 1536)
        window, count = rng.choice((3, 3, 5, 7)), channels
    elif groups == "some":
        count = rng.choice((2, 4, 8, 32))
        channels, out, window = count * rng.choice((4, 8, 16, 32)), count * rng.choice((4, 8, 16, 32)), 3
    padding, biased = window // 2, rng.random() < 0.5
    held: Shapes = [(out, channels // count, window, window), *([(out,)] if biased else [])]
    options = ([stride] * 2, [padding] * 2, [1, 1], count)
    return "conv2d", [(channels, side, side)], held, options, count


def _linear(rng: random.Random) -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
    features, out = _channels(rng, 64, 4096), _channels(rng, 10, 4096)
    tokens = rng.choice(((), (), (50,), (197,), (3136,), (784,), (14, 14), (7, 7)))
    return "linear", [(*tokens, features)], [(out, features), (out,)], (), 1


def _attention(rng: random.Random) -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
    shape = rng.choice((3, 4, 6, 8, 12, 16)), rng.choice((16, 49, 50, 128, 197, 257)), rng.choice((32, 64))
    return "scaled_dot_product_attention", [shape] * 3, [], (), 1


def _map(rng: random.Random) -> tuple[int, ...]:
    side = _side(rng)
    return (_channels(rng), side, side)


def _tokens(rng: random.Random) -> tuple[int, ...]:
    return (rng.choice((50, 197, 784, 3136)), _channels(rng, 64, 3072))


def _over(names: tuple[str, ...], count: int = 1) -> Maker:
    def shape(rng: random.Random) -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
        one = rng.choice((_map, _map, _tokens))(rng)
        return rng.choice(names), [one] * count, [], (), 1

    return shape


def _norm(rng: random.Random) -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
    shape = _map(rng)
    return "batch_norm", [shape], [(shape[0],)] * 4, (), 1


def _layer_norm(rng: random.Random) -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
    shape = _tokens(rng)
    return "layer_norm", [shape], [(shape[-1],)] * 2, (), 1


def _pool(rng: random.Random, name: str) -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
    side, window = rng.choice((14, 28, 35, 56, 112)), rng.choice((2, 3))
    options = ([window] * 2, [rng.choice((1, 2))] * 2, [window // 2] * 2)
    return name, [(_channels(rng), side, side)], [], options, 1


def _reduce(rng: random.Random) -> tuple[str, Shapes, Shapes, tuple[Any, ...], int]:
    side = rng.choice((7, 8, 14, 28, 56))
    return "adaptive_avg_pool2d", [(_channels(rng), side, side)], [], ([1, 1],), 1


_SHAPES: dict[str, Maker] = {
    "conv": _conv,
    "depthwise": lambda rng: _conv(rng, "each"),
    "grouped": lambda rng: _conv(rng, "some"),
    "linear": _linear,
    "attention": _attention,
    "norm": _norm,
    "layer_norm": _layer_norm,
    "pass": _over(("relu", "hardtanh")),
    "hardswish": _over(("hardswish", "hardsigmoid")),
    "gelu": _over(("gelu",)),
    "silu": _over(("silu",)),
    "sigmoid": _over(("sigmoid",)),
    "add": _over(("add", "mul"), 2),
    "cat": _over(("cat",), 2),
    "max_pool": lambda rng: _pool(rng, "max_pool2d"),
    "avg_pool": lambda rng: _pool(rng, "avg_pool2d"),
    "reduce": _reduce,
}


def _written(name: str, given: Shapes, held: Shapes, options: tuple[Any, ...]) -> float:
    """Elements of the output, from the shapes alone."""
    if name == "conv2d":
        side = (given[0][1] + 2 * options[1][0] - held[0][2]) // options[0][0] + 1
        return float(held[0][0] * side * side)
    if name == "linear":
        return float(math.prod(given[0][:-1]) * held[0][0])
    if name.endswith("_pool2d") and name[:3] in ("max", "avg"):
        side = (given[0][1] + 2 * options[2][0] - options[0][0]) // options[1][0] + 1
        return float(given[0][0] * side * side)
    if name == "adaptive_avg_pool2d":
        return float(given[0][0])
    return float(math.prod(given[0])) * (2.0 if name == "cat" else 1.0)


def _operator(name: str, given: Shapes, held: Shapes, written: float, groups: int) -> Operator:
    read, weights = (float(sum(math.prod(shape) for shape in shapes)) for shapes in (given, held))
    return described(name, held, given, read, written, weights, groups)


def _built(
    torch: Any, noise: Any, name: str, given: Shapes, held: Shapes, options: tuple[Any, ...], groups: int
) -> tuple[Operator, Call]:
    """The operator, and how to call it with the i-th copy of its weights."""
    inputs = [torch.rand((1, *shape), generator=noise) for shape in given]
    count = 4 * sum(math.prod(shape) for shape in held)
    copies = 1 if not count else max(2, min(64, math.ceil(COLD_BYTES / count)))
    weights = [[torch.rand(shape, generator=noise) + 0.1 for shape in held] for _ in range(copies)]
    function = getattr(torch.ops.aten, name)
    operator = _operator(name, given, held, _written(name, given, held, options), groups)
    if name == "conv2d":
        arguments = [(*inputs, w[0], w[1] if len(w) > 1 else None, *options) for w in weights]
    elif name == "batch_norm":
        arguments = [(*inputs, *w, False, 0.1, 1e-5, True) for w in weights]
    elif name == "layer_norm":
        arguments = [(*inputs, [given[0][-1]], *w) for w in weights]
    elif name == "cat":
        arguments = [(inputs, 1)]
    else:
        arguments = [(*inputs, *w, *options) for w in weights]
    return operator, lambda i: function(*arguments[i % copies])
