"""What a plan costs: latencies, bytes, memory and energy of one sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from advisor.cuts import Cut
from advisor.defenses import Defense
from advisor.estimate import Estimate
from advisor.planning.evaluating import u_shape
from advisor.planning.evaluating.message_size import as_sent
from advisor.planning.evaluating.plan_accuracy import PlanAccuracy
from advisor.profilers import Device, transfer_time
from advisor.profilers.energy import edge_energy
from advisor.profilers.halves.half_latency import total
from advisor.profilers.memory import swapped
from advisor.profilers.support.imported_profile import noun
from advisor.profilers.throughput import on_wire, pipeline

_COSTS = ("edge_latency", "link_latency", "cloud_latency", "edge_memory", "edge_swap", "bytes")


@dataclass(frozen=True, eq=False)
class PlanCosts(PlanAccuracy):
    """Prices cut and defense."""

    def costs(
        self, cut: Cut, defense: Defense, tail: Cut | None = None, message: int | None = None
    ) -> dict[str, Estimate]:
        """Latencies (s), bytes, edge memory, swap (B) and energy (J) of one sample, but for what a defense computes.

        Args:
            cut, defense, tail: of the plan.
            message: bytes that are sent, where an encoder is still to be fitted; else as the defense sends them.
        """
        found = {name: self.profile[name].at(cut) for name in _COSTS}
        sent = defense.message_bytes(cut) if message is None else message
        answer = (tail or self.graph.cuts[-1]).message_bytes
        found["bytes"] = Estimate.exact(sent, "B", "measured", f"as sent by {defense.name}, header included")
        if tail is not None:
            found |= u_shape.costs(self.profile, cut, tail)
            found["edge_swap"] = swapped(found["edge_memory"].value, self.edge.memory, self.edge.key)
        if sent != cut.message_bytes or tail is not None:
            found["link_latency"] = transfer_time(self.link, sent, answer, self.device.copy_rate)
        if self.link.compression and cut is not self.graph.cuts[-1] and message is None:
            found["bytes"], packing = as_sent(self.activation(cut), defense, self.link.compression)
            on_link = transfer_time(self.link, found["bytes"].value, answer, math.inf)
            found["link_latency"] = total([on_link, packing])
        found["latency"] = total([found["edge_latency"], found["link_latency"], found["cloud_latency"]])
        up = 0.0 if cut is self.graph.cuts[-1] else found["bytes"].value
        found["edge_energy"] = edge_energy(self.edge, self.link, found["edge_latency"], up, answer)
        wire = on_wire(self.link, up, answer if up else 0.0, self.device.copy_rate)
        found["throughput"] = pipeline((found["edge_latency"], wire, found["cloud_latency"]))
        found["macs"] = self._edge_macs(cut, tail)
        return found

    def _edge_macs(self, cut: Cut, tail: Cut | None) -> Estimate:
        """Multiply-adds of the edge half; of a U-shaped plan also of what comes after the tail."""
        macs = self.profile["macs"]
        if tail is None:
            return macs.at(cut)
        after = macs.at(self.graph.cuts[-1]).value - macs.at(tail).value
        return Estimate.exact(macs.at(cut).value + after, "MAC", macs.source, "head and tail")

    @cached_property
    def edge(self) -> Device:
        """The device that the edge times are of: that of a given profile where there is one."""
        row = self.profile.provenance.get("device")
        return noun(Device, row) if row else self.device
