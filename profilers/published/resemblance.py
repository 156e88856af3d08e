"""What a fit gets wrong about a network, learnt from networks alike: a Gaussian process over a few traits.

The three-parameter model knows no kinds of operations: on one machine depthwise convolutions are slow, on another
attention is. ln(measured / estimated) is therefore taken as a smooth function of the network's traits, with one part
that all machines of a runtime share and one of each machine's own (kriging; Rasmussen & Williams 2006, eq. 2.25).
Far from every measured network it is nothing, and the interval is the widest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from advisor.profilers.published.features import Work

LENGTH, SHARED, OWN, NOISE = 2.0, 0.3, 0.3, 0.15
"""Length scale in traits; standard deviations of the shared part, of the machine's own, and of a measurement.

Round numbers: the left-out error is flat from half to twice of each.
"""

Traits = tuple[float, ...]


def traits(work: Work) -> Traits | None:
    """Where a network lies among others, in units in which neighbours are about one apart; None without arithmetic."""
    if not (work.ops > 0 and work.macs > 0 and work.weights > 0 and work.activations > 0):
        return None
    sizes = (work.macs / work.ops, work.activations / work.ops, work.weights / work.ops, work.ops)
    kinds = (6 * work.depthwise / work.ops, 6 * work.grouped / work.ops, 20 * work.attention / work.ops)
    return (*(math.log(size) for size in sizes), *kinds, 2 * work.pointwise / work.macs)


def likeness(one: Traits, other: Traits) -> float:
    """1 for equal traits, falling to 0: exp(−distance² / 2·LENGTH²)."""
    return math.exp(-0.5 * math.dist(one, other) ** 2 / LENGTH**2)


def spread(nearest: float, anywhere: float = 0.0) -> float:
    """Standard deviation of ln(measured / estimated), by how alike the most alike networks are that were measured.

    Args:
        nearest: likeness of the one measured on this machine.
        anywhere: likeness of the one measured on any machine of the runtime.
    """
    return math.sqrt(NOISE**2 + OWN**2 * (1 - nearest**2) + SHARED**2 * (1 - max(nearest, anywhere) ** 2))


@dataclass(frozen=True)
class Neighbours:
    """Networks measured with a runtime, and what each tells of one machine.

    Attributes:
        names, traits: `[networks]`.
        coefficients: `[networks]` of the Gaussian process.
        measured: `[networks]`, whether on this very machine.
    """

    names: tuple[str, ...]
    traits: tuple[Traits, ...]
    coefficients: tuple[float, ...]
    measured: tuple[bool, ...]

    def factor(self, whole: Work) -> float:
        """Factor on the fitted time of a network."""
        at = traits(whole)
        if at is None:
            return 1.0
        pairs = zip(self.traits, self.coefficients, strict=True)
        return math.exp(math.fsum(coefficient * likeness(at, other) for other, coefficient in pairs))

    def anywhere(self, whole: Work) -> float:
        """Likeness of the most alike network that was measured with the runtime."""
        at = traits(whole)
        return max((0.0 if at is None else likeness(at, other) for other in self.traits), default=0.0)

    def nearest(self, whole: Work) -> tuple[float, str]:
        """Likeness and name of the most alike network that was measured on this machine."""
        at = traits(whole)
        rows = zip(self.traits, self.names, self.measured, strict=True)
        return max(((0.0 if at is None else likeness(at, t), name) for t, name, own in rows if own), default=(0.0, ""))
