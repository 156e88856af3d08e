"""ProfilingContext: one model on one device, link and cloud; what several profilers need is computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from advisor.profilers.boards import measured, remote
from advisor.profilers.calibration import kinds
from advisor.profilers.halves import added_latency
from advisor.profilers.halves.half_latency import Halves, bounded
from advisor.profilers.machines import roofline
from advisor.profilers.machines.catalog import LOCAL, Device, is_remote
from advisor.profilers.multiply_adds.counting import MacCount, count
from advisor.profilers.published.features import Work, edge_work, piece_work
from advisor.profilers.transmission.network import Link
from advisor.progress import Progress, silence
from advisor.variant import Variant

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph


@dataclass(frozen=True, eq=False)
class ProfilingContext:
    """What is profiled, and where.

    Attributes:
        graph: the traced model.
        device, link, cloud: where its halves run and what lies between.
        progress: told the share that is done while something is measured.
        limit: seconds of timing where something is measured; None for the usual.
    """

    graph: PartitionGraph
    device: Device
    link: Link
    cloud: Device
    progress: Progress = silence
    limit: float | None = None

    @cached_property
    def counted(self) -> MacCount:
        """Multiply-adds of every piece."""
        return count(self.graph)

    @cached_property
    def pieces(self) -> tuple[Work, ...]:
        """Work between neighbouring cuts."""
        return piece_work(self.graph, self.counted.pieces)

    @cached_property
    def on_device(self) -> Halves:
        """Times of both halves on the edge device."""
        return self.times(self.device)

    @cached_property
    def on_cloud(self) -> Halves:
        """Times of both halves on the cloud machine."""
        return self.on_device if self.cloud == self.device else self.times(self.cloud)

    @property
    def memory(self) -> float:
        """Bytes of memory of the edge device; of a measured one what it said."""
        told = self.on_device.facts.get("memory")
        return self.device.memory if told is None else float(told)

    def times(self, device: Device) -> Halves:
        """Of a variant its base's, and what encoder and decoder add; of any other graph its own."""
        if not isinstance(self.graph, Variant):
            return self._own_times(device)
        base = replace(self, graph=self.graph.base)
        known, whole = base.times(device), edge_work(base.pieces)[-1]
        if is_remote(device.name) or device.name == LOCAL or device.calibration:
            added = added_latency.at_rate_of(known.whole, whole)
        else:
            added = roofline.added(device, whole)
        beside = self.counted.bound if self.counted.unsupported != base.counted.unsupported else ""
        return added_latency.halves(self.graph, known, self.pieces, lambda work: bounded(added(work), beside))

    def _own_times(self, device: Device) -> Halves:
        """Measured on this computer or over ssh, estimated for a catalog device."""
        if is_remote(device.name):
            return remote.halves(self.graph, device.name, self.progress, self.limit)
        if device.name == LOCAL:
            return measured.halves(self.graph, self.progress, limit=self.limit, runtime=device.runtime)
        if device.calibration:
            return kinds.halves(self.graph, device.calibration, device.name, self.counted.bound)
        return roofline.halves(self.pieces, device, self.counted.bound)
