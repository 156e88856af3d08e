"""Cost columns of a variant from those of its base: nothing is measured again, what it adds is estimated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from advisor.columns import Column, Profile
from advisor.estimate import Estimate
from advisor.profilers import energy, latency, macs, memory, throughput
from advisor.profilers.halves import added_latency
from advisor.profilers.halves.added_latency import AddedTime
from advisor.profilers.halves.half_latency import Halves
from advisor.profilers.machines import roofline
from advisor.profilers.machines.catalog import LOCAL, Device, is_remote
from advisor.profilers.published.features import Work, edge_work
from advisor.profilers.support.context import ProfilingContext
from advisor.profilers.support.imported_profile import noun
from advisor.profilers.transmission.network import Link

if TYPE_CHECKING:
    from advisor.variant import Variant

_MEMBERS = (macs.columns, memory.columns, latency.columns, throughput.columns, energy.columns)


def variant_profile(variant: Variant, cost: Profile) -> Profile:
    """Cost columns at every cut of a variant.

    Args:
        variant: what is priced.
        cost: of its base, with the machines and the link in its provenance.
    """
    rows = cost.provenance
    context = _OfBase(
        variant, noun(Device, rows["device"]), noun(Link, rows["link"]), noun(Device, rows["cloud"]), cost=cost
    )
    columns: dict[str, Column] = {}
    for member in _MEMBERS:
        columns |= {column.name: column for column in member(context)}
    return Profile(variant.cuts, columns, {key: rows[key] for key in ("device", "link", "cloud")})


@dataclass(frozen=True, eq=False)
class _OfBase(ProfilingContext):
    """A context whose times are those of the base's columns."""

    cost: Profile = None  # type: ignore[assignment]  # a dataclass's defaults come last; `variant_profile` sets it

    @cached_property
    def on_device(self) -> Halves:
        """Of the edge half, at every cut of the variant."""
        times = self._times("edge_latency")
        return self._with_added(times, times[-1], self.device)

    @cached_property
    def on_cloud(self) -> Halves:
        """Of the cloud half."""
        times = self._times("cloud_latency")
        return self._with_added(times, times[0], self.cloud)

    def _times(self, name: str) -> tuple[Estimate, ...]:
        return tuple(self.cost[name].at(cut) for cut in self._variant.base.cuts)

    def _with_added(self, times: Sequence[Estimate], whole: Estimate, machine: Device) -> Halves:
        """The times stand for both halves: of either only the one that they are of is read."""
        if any(math.isnan(time.value) for time in times):
            unknown = Estimate(math.nan, unit="s", source="estimated", method="the base has no known time")
            missing = (unknown,) * len(self.graph.cuts)
            return Halves(missing, missing, why=unknown.method)
        known = Halves(tuple(times), tuple(times))
        return added_latency.halves(self._variant, known, self.pieces, self._added(whole, machine))

    def _added(self, whole: Estimate, machine: Device) -> AddedTime:
        base = ProfilingContext(self._variant.base, self.device, self.link, self.cloud)
        work: Work = edge_work(base.pieces)[-1]
        if is_remote(machine.name) or machine.name == LOCAL or machine.calibration:
            return added_latency.at_rate_of(whole, work)
        return roofline.added(machine, work)

    @property
    def _variant(self) -> Variant:
        from advisor.variant import Variant

        assert isinstance(self.graph, Variant)
        return self.graph
