"""Times of a variant's halves: those of its base, and an estimate of what encoder and decoder add to them.

The base's own operations keep their times, measured or estimated: the same layers never cost another time because an
encoder stands beside them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from advisor.estimate import NORMAL_90, Estimate
from advisor.profilers.halves.half_latency import Halves, total
from advisor.profilers.published.features import Work

if TYPE_CHECKING:
    from advisor.cuts import Cut
    from advisor.variant import Variant

RATE_DOUBT = 3.0
"""Where the base was timed, added layers run at its rate within this factor, either way: layers differ that much."""

AddedTime = Callable[[Work], Estimate]
"""Seconds that some added work takes for one sample."""


def at_rate_of(whole: Estimate, work: Work) -> AddedTime:
    """Added work at the rate at which the whole base was timed, in seconds a multiply-add.

    Args:
        whole: seconds of the base.
        work: of the base.
    """

    def seconds(added: Work) -> Estimate:
        if not work.macs > 0:
            return Estimate(math.nan, unit="s", source="estimated", method="the base has no multiply-adds to scale by")
        value = whole.value * added.macs / work.macs
        low, high = value / RATE_DOUBT, value * RATE_DOUBT
        method = "encoder and decoder at the rate of the base"
        return Estimate(value, (high - low) / (2 * NORMAL_90), low, high, "s", "estimated", method)

    return seconds


def halves(variant: Variant, base: Halves, pieces: Sequence[Work], seconds: AddedTime) -> Halves:
    """Times of both halves of a variant at each of its cuts.

    Args:
        variant: whose cuts are timed.
        base: times of its base at each of the base's cuts.
        pieces: work between the variant's neighbouring cuts.
        seconds: how long added work takes.
    """
    timing = _Timing(variant, base, pieces, seconds)
    edge, cloud = zip(*(timing.at(cut) for cut in variant.cuts), strict=True)
    note = "encoder and decoder are estimated, the layers of the model itself keep their times"
    return dataclasses.replace(base, edge=edge, cloud=cloud, notes=(*base.notes, note))


@dataclass(frozen=True)
class _Timing:
    variant: Variant
    base: Halves
    pieces: Sequence[Work]
    seconds: AddedTime

    def at(self, cut: Cut) -> tuple[Estimate, Estimate]:
        """Edge and cloud time when the edge stops there."""
        if self.variant.answers:
            return self._answering(cut)
        first, last = self._added
        known = self._known_before(cut)
        edge, cloud = self._base_at(known)
        if cut.index <= first:
            return edge, self._more(cloud, first, last)
        if cut.index <= last:
            return self._more(edge, first, cut.index), self._more(cloud, cut.index, last)
        edge = self._more(edge, first, last)
        beyond = max(known.index, last)
        rest = cloud if beyond == cut.index else _less(cloud, self.seconds(self._work(beyond, cut.index)))
        return self._more(edge, beyond, cut.index), rest

    def _answering(self, cut: Cut) -> tuple[Estimate, Estimate]:
        """Nothing of the base runs after the encoder, which gives the answer."""
        first, last = self._added
        edge, replaced = self._base_at(self.variant.cut(self.variant.at))
        if cut.index <= first:
            before, cloud = self._base_at(self._known_before(cut))
            return before, self._more(_less(cloud, replaced), first, last)
        return self._more(edge, first, cut.index), self._more(_less(replaced, replaced), cut.index, last)

    @property
    def _added(self) -> tuple[int, int]:
        """Index of the cut before the encoder, and of the first after which all of the decoder ran."""
        first = self.variant.cut(self.variant.at).index
        every = frozenset().union(*self.variant.added.values())
        last = next(c.index for c in self.variant.cuts if every <= set(self.variant.edge_nodes(c)))
        return first, last

    def _known_before(self, cut: Cut) -> Cut:
        """The last cut of the base at or before this one."""
        names = {known.name for known in self.variant.base.cuts}
        return next(c for c in reversed(self.variant.cuts[: cut.index + 1]) if c.name in names)

    def _base_at(self, cut: Cut) -> tuple[Estimate, Estimate]:
        index = next(known.index for known in self.variant.base.cuts if known.name == cut.name)
        return self.base.edge[index], self.base.cloud[index]

    def _work(self, start: int, stop: int) -> Work:
        return reduce(Work.__add__, self.pieces[start + 1 : stop + 1], Work())

    def _more(self, time: Estimate, start: int, stop: int) -> Estimate:
        return time if stop <= start else _sum(time, self.seconds(self._work(start, stop)))


def _sum(time: Estimate, more: Estimate) -> Estimate:
    method = f"{time.method}; plus encoder and decoder, {more.method}" if time.method else more.method
    whole = total([time, more])
    return dataclasses.replace(whole, source="bounded" if whole.source == "bounded" else "estimated", method=method)


def _less(time: Estimate, part: Estimate) -> Estimate:
    """A time without a part of it: both err together."""
    kept = max(0.0, 1 - part.value / time.value) if time.value > 0 else 0.0
    return time.mapped(lambda seconds: seconds * kept, time.method)
