"""Plans of an advice over another link, from what it records: nothing is measured again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from advisor.advice import Advice
from advisor.errors import AdvisorError
from advisor.estimate import NORMAL_90, Estimate
from advisor.plans import Plan
from advisor.profilers import Device, Link, transfer_time
from advisor.profilers.energy import edge_energy
from advisor.profilers.halves.half_latency import total
from advisor.profilers.throughput import on_wire, pipeline
from advisor.units import show_rate

Noun = TypeVar("Noun", Device, Link)
UNKNOWN = Estimate(math.nan, source="estimated", method="the advice does not record what it is computed from")
_FOLLOWS = "the rate up was taken"
"""What a link's record says of a rate down that nobody gave."""
_LINK, _DEVICE = TypeAdapter(Link), TypeAdapter(Device)
"""What a file says is checked field by field."""
MOST_RATE = 1e15
"""Bits a second beyond which no record is believed."""


def recorded_link(advice: Advice) -> Link:
    """The link that an advice was made for.

    Raises:
        AdvisorError: when it records none, or what it records is no link.
    """
    link = _noun(advice, "link", _LINK)
    rows = [(link.up, link.down, link.rtt), *link.trace]
    if not all(0 < up <= MOST_RATE and 0 < down <= MOST_RATE and 0 <= rtt < math.inf for up, down, rtt in rows):
        raise _none("link")
    times = (link.rtt_low, link.rtt_high, link.jitter)
    if not all(0 <= time < math.inf for time in times) or not 0 < link.duty_cycle <= 1 or not link.max_payload > 0:
        raise _none("link")
    return link


def recorded_device(advice: Advice) -> Device:
    """The device that an advice was made for.

    Raises:
        AdvisorError: when it records none, or what it records is no device.
    """
    return _noun(advice, "device", _DEVICE)


def _noun(advice: Advice, key: str, kind: TypeAdapter[Noun]) -> Noun:
    row = advice.provenance.get(key)
    if not isinstance(row, Mapping) or "name" not in row:
        raise AdvisorError(f"This advice does not record its {key}.", "Make the advice again: advisor recommend.")
    told = {name: value for name, value in row.items() if value is not None and name != "key"}
    try:
        return kind.validate_python(told)
    except ValidationError:
        raise _none(key) from None


def _none(key: str) -> AdvisorError:
    return AdvisorError(f"The {key} that this advice records is none.", "Make the advice again: advisor recommend.")


def at_rate(link: Link, up: float) -> Link:
    """The same link with another rate up; the rate down follows where it was taken from it.

    Radio power is known at the recorded rates only.
    """
    if up == link.up and not link.trace:
        return link
    follows = link.down == link.up and any(_FOLLOWS in str(sentence) for sentence in link.assumed)
    return dataclasses.replace(
        link, name=f"{link.name} at {show_rate(up)}", up=up, down=up if follows else link.down, trace=(),
        tx_power=math.nan, rx_power=math.nan,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Repricer:
    """What a link changes of a plan: its link latency, latency, throughput and energy.

    Attributes:
        device: whose power and copies count.
        link: that the plans were priced for.
        answer: bytes of the model's output; a U-shaped plan's answer is its tail.
    """

    device: Device
    link: Link
    answer: float

    @classmethod
    def of(cls, advice: Advice) -> Repricer:
        """From what an advice records.

        Raises:
            AdvisorError: when it records no link or device.
        """
        return cls(recorded_device(advice), recorded_link(advice), float(advice.profile.cuts[-1].message_bytes))

    def over(self, plan: Plan, link: Link) -> Plan:
        """The plan as it would have been priced over another link; the one it was priced for changes nothing."""
        sent = plan.predicted.get("bytes")
        if link == self.link or plan.kind in ("all-edge", "local-head") or (sent is not None and sent.value == 0):
            return plan
        return dataclasses.replace(plan, predicted={**plan.predicted, **self._costs(plan, sent, link)})

    def _costs(self, plan: Plan, sent: Estimate | None, link: Link) -> dict[str, Estimate]:
        parts = {name: plan.predicted.get(name, UNKNOWN) for name in ("edge_latency", "cloud_latency")}
        before = plan.predicted.get("link_latency")
        if sent is None or before is None or not (math.isfinite(sent.value) and sent.value > 0):
            unknown = dict.fromkeys(("link_latency", "latency", "throughput", "edge_energy"), UNKNOWN)
            return {name: unknown[name] for name in unknown if name in plan.predicted}
        answer = self.answer if plan.tail is None else float(plan.tail.message_bytes)
        on_link = self._moved(before, sent, answer, link)
        wire = on_wire(link, sent.value, answer, self.device.copy_rate)
        found = {
            "link_latency": on_link,
            "latency": total([parts["edge_latency"], on_link, parts["cloud_latency"]]),
            "throughput": pipeline((parts["edge_latency"], wire, parts["cloud_latency"])),
            "edge_energy": edge_energy(self.device, link, parts["edge_latency"], sent.value, answer),
        }
        return {name: estimate for name, estimate in found.items() if name in plan.predicted}

    def _moved(self, before: Estimate, sent: Estimate, answer: float, link: Link) -> Estimate:
        """The time on another link: what the model of the link says there, and what was recorded beyond it here.

        What is beyond it, packing that was measured, does not depend on the link.
        """
        then, now = (self._transfer(place, sent, answer) for place in (self.link, link))
        beyond, low, high = (getattr(before, end) - getattr(then, end) for end in ("value", "low", "high"))
        low, high = max(0.0, now.low + low), now.high + high
        spread = (high - low) / (2 * NORMAL_90)
        return Estimate(max(0.0, now.value + beyond), spread, low, high, "s", "estimated", now.method)

    def _transfer(self, link: Link, sent: Estimate, answer: float) -> Estimate:
        """Over the spread of what is sent; of compressed messages the mean counts, as when they were priced."""
        sizes = [sent.value] if link.compression else [sent.value, sent.low, sent.high]
        known = [size for size in sizes if math.isfinite(size) and size > 0]
        times = [transfer_time(link, size, answer, self.device.copy_rate) for size in known]
        return dataclasses.replace(times[0], low=min(t.low for t in times), high=max(t.high for t in times))
