"""A chain of operators while it is drawn, and its nouns."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from advisor.profilers.calibration.operators import Convolution, Operator, described

Shape = tuple[int, ...]

ELEMENTS, WEIGHTS = 3.3e6, 1.1e8
"""The most of a tensor that is passed on, and of one operator's parameters: VGG's first map and first matrix."""

MACS = (2e6, 2e9)
"""The most of one operator, drawn chain by chain between these: most chains are of small operators, as networks are."""


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


class Drawing:
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
        """Of the newest value."""
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
        """One operator that keeps the shape, or none where it is too large."""
        self.add(name, self.shape, held, options)

    def earlier(self, fits: Callable[[Shape], bool]) -> list[int]:
        """Values that lie in memory as they are, other than the newest."""
        plain = [
            i for i in range(len(self.shapes)) if not i or self.steps[i - 1].operator.kind not in ("view", "chunk")
        ]
        return [i for i in plain if i != self.now and fits(self.shapes[i])]


Draw = Callable[[Drawing], None]
"""Adds operators to a chain, or none where none fits."""


def near(rng: random.Random, low: float, high: float) -> int:
    """A number between these, on a logarithmic scale."""
    return round(math.exp(rng.uniform(math.log(low), math.log(max(low, high)))))


def width(rng: random.Random, low: float, high: float) -> int:
    """Channels: mostly whole vectors, sometimes any even number."""
    exact, step = near(rng, low, high), rng.choice((2, 8, 8, 16, 16, 32))
    return max(step, round(exact / step) * step)


def _usual(shape: Shape) -> float:
    """Multiply-adds that are always allowed: of a first layer, a 3×3 convolution or an MLP as networks have them."""
    each = max(600.0, 9.0 * shape[0]) if len(shape) == 3 else 4.0 * shape[-1]
    return each * math.prod(shape)
