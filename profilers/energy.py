"""Energy drawn from the edge's supply: compute and radio, from sourced power figures only."""

from __future__ import annotations

import dataclasses
import math

from advisor.columns import Column
from advisor.estimate import NORMAL_90, Estimate
from advisor.profilers.setting import Setting
from advisor.profilers.transfer import download, upload

METHOD = (
    "board's active power (its limit where unmeasured) × edge time + radio power × time on air; idling is not counted"
)


def columns(setting: Setting) -> tuple[Column]:
    """`edge_energy`, in joules for one sample; NaN where a power figure has no source."""
    cuts, times = setting.graph.cuts, setting.on_device
    values, reasons = [], []
    for cut, edge in zip(cuts, times.edge, strict=True):
        sent = 0.0 if cut is cuts[-1] else float(cut.bytes)
        radio = radio_energy(setting, sent, float(cuts[-1].bytes))
        values.append(_joules(setting.device.active_power, edge, radio))
        reasons.append(_why(setting, sent, times.why) if math.isnan(values[-1].value) else "")
    column = Column.of_estimates("edge_energy", "low", values, reasons)
    if "unverified" in setting.link.confidence:
        column = dataclasses.replace(column, method=f"{METHOD}; the radio power of {setting.link.name} is unverified")
    return (column,)


def radio_energy(setting: Setting, sent: float, answer: float) -> float:
    """Joules of the radio for `sent` bytes up and `answer` bytes down (P = slope · rate + base)."""
    link = setting.link
    if sent == 0:
        return 0.0
    on_air = upload(link, sent) * (link.duty_cycle if sent > link.max_payload else 1.0)
    return link.tx_power * on_air + link.rx_power * download(link, answer)


def _joules(power: float, edge: Estimate, radio: float) -> Estimate:
    """Compute energy with the interval of the edge time, plus the radio's; an idle edge draws no compute energy."""
    value, low, high = (power * t + radio if t else radio for t in (edge.value, edge.low, edge.high))
    return Estimate(value, (high - low) / (2 * NORMAL_90), low, high, "J", "estimated", METHOD)


def _why(setting: Setting, sent: float, timing: str) -> str:
    missing = []
    if math.isnan(setting.device.active_power):
        missing.append(f"no sourced active power of {setting.device.key}")
    if sent and math.isnan(setting.link.tx_power + setting.link.rx_power):
        missing.append(f"no sourced radio power of {setting.link.name}")
    return "; ".join([*missing, *([timing] if timing else [])])
