"""Chains of random operators, as the stretches of a network: what a calibration times. No network is among them."""

from __future__ import annotations

import math
import random

from advisor.profilers.calibration.chain_operators import BETWEEN, ON_MAPS, ON_TOKENS
from advisor.profilers.calibration.drawn_chain import ELEMENTS, Chain, Draw, Drawing, Shape, near, width

STAGES, MOTIF, REPEATS = 3, 6, 4
"""At most, of a chain: stages, draws that make up one, and how often they are repeated."""

SIDES = (224, 224, 224, 112, 112, 56, 56, 56, 64, 35, 32, 28, 28, 28, 17, 16, 14, 14, 14, 8, 7, 7, 7)
TOKENS = (16, 49, 50, 64, 128, 196, 197, 257, 784, 3136)


def chain(rng: random.Random, weights: float = math.inf) -> Chain:
    """Draw one: stages of a few operators that come again and again, as networks have them.

    What is repeated finds its code, and the memory that was just let go, in the caches, as in a network.

    Args:
        rng: draws it.
        weights: the most parameter elements of the whole chain.
    """
    drawing = Drawing(rng, _start(rng), weights)
    for stage in range(rng.randint(1, STAGES)):
        if stage:
            _choice(rng, BETWEEN if len(drawing.shape) == 3 else ON_TOKENS)(drawing)
        members = ON_MAPS if len(drawing.shape) == 3 else ON_TOKENS
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
        return (near(rng, 64, 25088),)
    if kind < 0.32:
        tokens = rng.choice(TOKENS)
        return (tokens, 32 * max(1, near(rng, 64, min(1280.0, ELEMENTS / 4 / tokens)) // 32))
    side = rng.choice(SIDES)
    if side == 224:
        return (rng.choice((3, 3, 3, 3, 16, 32, 64)), side, side)
    return (width(rng, 8, min(2048.0, ELEMENTS / side**2)), side, side)
