"""Energy drawn from the edge's supply: compute and radio, from sourced power figures only."""

from __future__ import annotations

import dataclasses
import math

from advisor.columns import Column
from advisor.estimate import NORMAL_90, Estimate, Source
from advisor.profilers.machines.catalog import Device
from advisor.profilers.support.context import ProfilingContext
from advisor.profilers.transmission.network import Link
from advisor.profilers.transmission.transfer import download, upload

METHOD = (
    "board's active power (its limit where unmeasured) × edge time + radio power × time on air; idling is not counted"
)


def columns(context: ProfilingContext) -> tuple[Column]:
    """`edge_energy`, in joules for one sample; NaN where a power figure has no source."""
    cuts, times = context.graph.cuts, context.on_device
    values, reasons = [], []
    for cut, edge in zip(cuts, times.edge, strict=True):
        sent = 0.0 if cut is cuts[-1] else float(cut.message_bytes)
        values.append(edge_energy(context.device, context.link, edge, sent, float(cuts[-1].message_bytes)))
        unknown = _unknown(context.device, context.link, edge, sent)
        reasons.append("; ".join([*unknown, times.why]).strip("; ") if math.isnan(values[-1].value) else "")
    column = Column.of_estimates("edge_energy", "low", values, reasons)
    bound = "; a lower bound, as the edge time is" if times.whole.source == "bounded" else ""
    source: Source = "bounded" if bound else column.source
    return (dataclasses.replace(column, source=source, method=f"{_method(context.link)}{bound}"),)


def edge_energy(device: Device, link: Link, edge: Estimate, sent: float, answer: float) -> Estimate:
    """Joules the edge spends on one sample: its interval is that of the edge time.

    Args:
        device, link: whose power is drawn.
        edge: seconds the edge computes; while it does not, it draws no compute energy.
        sent, answer: bytes up and down; nothing comes back where nothing is sent.

    Returns:
        NaN, with the reason as its method, where a power figure has no source.
    """
    unknown = _unknown(device, link, edge, sent)
    if unknown:
        return Estimate(math.nan, unit="J", source="estimated", method="; ".join(unknown))
    source: Source = "bounded" if edge.source == "bounded" else "estimated"
    radio = _radio(link, sent, answer)
    value, low, high = (device.active_power * t + radio if t else radio for t in (edge.value, edge.low, edge.high))
    return Estimate(value, (high - low) / (2 * NORMAL_90), low, high, "J", source, _method(link))


def _radio(link: Link, sent: float, answer: float) -> float:
    """Joules of the radio for `sent` bytes up and `answer` bytes down (P = slope · rate + base)."""
    if sent == 0:
        return 0.0
    on_air = upload(link, sent) * (link.duty_cycle if sent > link.max_payload else 1.0)
    return link.tx_power * on_air + link.rx_power * download(link, answer)


def _unknown(device: Device, link: Link, edge: Estimate, sent: float) -> list[str]:
    missing = []
    if edge.value != 0 and math.isnan(device.active_power):
        missing.append(f"no sourced active power of {device.key}")
    if sent and math.isnan(link.tx_power + link.rx_power):
        missing.append(f"no sourced radio power of {link.name}")
    return missing


def _method(link: Link) -> str:
    doubt = "unverified" in link.confidence
    return f"{METHOD}; the radio power of {link.name} is unverified" if doubt else METHOD
