"""Operators of many shapes, timed on this machine: what a calibration learns from. No network is among them."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from advisor.profilers import agent
from advisor.profilers.operators import KINDS, Operator, described

GROUP, VARIETY, ROUNDS = 48, 6, 5
"""Operators that take turns, of so many kinds and of one order of size, as those of a network: what is still in the
caches when one's turn comes is then what it would be there. Calls of each in one go."""

MOST = {"conv": 500}
"""Benchmarks of a kind that are kept, 150 where not said."""

MACS, ELEMENTS, WEIGHTS = (3e6, 1.5e9), (3e4, 4e6), (3e4, 2.6e7)
"""The most of an operator, in the group of the smallest and in that of the largest."""
SHARE = {"conv": 12.0, "linear": 3.0, "depthwise": 3.0, "grouped": 2.0, "attention": 2.0}
"""How often each kind comes, 1 where not said: convolutions vary most."""

Timed = tuple[Operator, float]
Call = Callable[[], Any]


def timed(seconds: float, seed: int = 0, told: Callable[[float], None] | None = None) -> list[Timed]:
    """Operators with their median seconds.

    All are gone through again and again until the time is over: a machine shared with others has slow minutes.

    Args:
        seconds: how long to measure.
        seed: of the shapes.
        told: given the share of the time that is used.
    """
    import torch

    rng, start = random.Random(seed), time.perf_counter()
    noise, groups = torch.Generator().manual_seed(seed), _groups(rng)
    samples: dict[int, list[list[float]]] = {}
    operators: dict[int, list[Operator]] = {}
    with torch.no_grad():
        for number in itertools.count():
            used, group = (time.perf_counter() - start) / max(seconds, 1e-9), number % len(groups)
            if used >= 1:
                break
            if told:
                told(used)
            members = [_built(torch, noise, *shapes) for shapes in groups[group]]
            operators[group] = [operator for operator, _, _ in members]
            for kept, more in zip(
                samples.setdefault(group, [[] for _ in members]), _in_turn(members, rng), strict=True
            ):
                kept += more
    pairs = [pair for group in samples for pair in zip(operators[group], samples[group], strict=True)]
    return [(operator, agent.interval(times)[0]) for operator, times in pairs]


def _groups(rng: random.Random) -> list[list[Shape]]:
    """Shapes of operators that take turns, until there are enough of every kind."""
    turns = [kind for kind in KINDS for _ in range(int(SHARE.get(kind, 1.0)))]
    groups, counts = [], Counter[str]()
    while wanted := [kind for kind in turns if counts[kind] < MOST.get(kind, 150)]:
        rarest = sorted(set(wanted), key=lambda kind: (counts[kind] / SHARE.get(kind, 1.0), kind))[:2]
        kinds = rng.choices([*rarest, *rng.choices(wanted, k=VARIETY - 2)], k=GROUP)
        size = rng.random()
        counts.update(kinds)
        groups.append([shape_of(kind, rng, size) for kind in kinds])
    return groups


def _in_turn(members: list[tuple[Operator, Call, Call]], rng: random.Random) -> list[list[float]]:
    """Seconds of some calls of each; what an operator reads has just been written, as by the operator before it."""
    samples: list[list[float]] = [[] for _ in members]
    for turn in range(ROUNDS + 1):
        for i in rng.sample(range(len(members)), len(members)):
            _, call, touch = members[i]
            touch()
            before = time.perf_counter()
            call()
            if turn:  # the first call prepares
                samples[i].append(time.perf_counter() - before)
    return samples


Shapes = list[tuple[int, ...]]
Shape = tuple[str, Shapes, Shapes, tuple[Any, ...], int]
Maker = Callable[[random.Random], Shape]


def shape_of(kind: str, rng: random.Random, size: float = 1.0) -> Shape:
    """Operator name, activation shapes without batch, parameter shapes, further arguments and groups.

    Args:
        kind: of `KINDS`.
        rng: draws the shape.
        size: 0 to 1: how large it may be.
    """
    macs, elements, weights = (low * (high / low) ** size for low, high in (MACS, ELEMENTS, WEIGHTS))
    while True:
        found = _SHAPES[kind](rng)
        name, given, held, options, groups = found
        operator = _operator(name, given, held, _written(name, given, held, options), groups)
        if operator.macs <= macs and max(operator.read, operator.written) <= elements and operator.weights <= weights:
            return found


def _channels(rng: random.Random, low: int = 8, high: int = 2048) -> int:
    exact = math.exp(rng.uniform(math.log(low), math.log(high)))
    return max(low, round(exact / 8) * 8)


def _side(rng: random.Random) -> int:
    return rng.choice((1, 7, 7, 8, 14, 14, 16, 28, 28, 32, 56, 56, 64, 112, 112, 224))


def _conv(rng: random.Random, groups: str = "one") -> Shape:
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


def _linear(rng: random.Random) -> Shape:
    features, out = _channels(rng, 64, 4096), _channels(rng, 10, 4096)
    tokens = rng.choice(((), (), (50,), (197,), (3136,), (784,), (14, 14), (7, 7)))
    return "linear", [(*tokens, features)], [(out, features), (out,)], (), 1


def _attention(rng: random.Random) -> Shape:
    shape = rng.choice((3, 4, 6, 8, 12, 16)), rng.choice((16, 49, 50, 128, 197, 257)), rng.choice((32, 64))
    return "scaled_dot_product_attention", [shape] * 3, [], (), 1


def _map(rng: random.Random) -> tuple[int, ...]:
    side = _side(rng)
    return (_channels(rng), side, side)


def _tokens(rng: random.Random) -> tuple[int, ...]:
    return (rng.choice((50, 197, 784, 3136)), _channels(rng, 64, 3072))


def _over(names: tuple[str, ...], count: int = 1) -> Maker:
    def shape(rng: random.Random) -> Shape:
        one = rng.choice((_map, _map, _tokens))(rng)
        return rng.choice(names), [one] * count, [], (), 1

    return shape


def _norm(rng: random.Random) -> Shape:
    shape = _map(rng)
    return "batch_norm", [shape], [(shape[0],)] * 4, (), 1


def _layer_norm(rng: random.Random) -> Shape:
    shape = _tokens(rng)
    return "layer_norm", [shape], [(shape[-1],)] * 2, (), 1


def _pool(rng: random.Random, name: str) -> Shape:
    side, window = rng.choice((14, 28, 35, 56, 112)), rng.choice((2, 3))
    options = ([window] * 2, [rng.choice((1, 2))] * 2, [window // 2] * 2)
    return name, [(_channels(rng), side, side)], [], options, 1


def _reduce(rng: random.Random) -> Shape:
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
    "copy": _over(("contiguous",)),
    "view": _over(("transpose",)),
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
) -> tuple[Operator, Call, Call]:
    """The operator, how to call it with parameters that a module holds, and how to write its inputs anew."""
    inputs = [torch.rand((1, *shape), generator=noise) for shape in given]
    module, function = torch.nn.Module(), getattr(torch.ops.aten, name)
    for i, shape in enumerate(held):
        module.register_buffer(f"held_{i}", torch.rand(shape, generator=noise) + 0.1)
    labels = [f"held_{i}" for i in range(len(held))]

    def call() -> Any:
        weights = [getattr(module, label) for label in labels]
        if name == "conv2d":
            return function(*inputs, weights[0], weights[1] if len(weights) > 1 else None, *options)
        if name == "batch_norm":
            return function(*inputs, *weights, False, 0.1, 1e-5, True)
        if name == "layer_norm":
            return function(*inputs, [given[0][-1]], *weights)
        if name in ("contiguous", "transpose"):
            turned = inputs[0].transpose(1, -1)
            return turned if name == "transpose" else function(turned)
        return function(inputs, 1) if name == "cat" else function(*inputs, *weights, *options)

    def touch() -> None:
        for tensor in inputs:
            tensor.neg_().neg_()

    return _operator(name, given, held, _written(name, given, held, options), groups), call, touch
