"""A profile that was measured earlier, on the device: which of its columns count, and whether it is of this model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from advisor.columns import Column, Profile
from advisor.profilers.energy import edge_energy
from advisor.profilers.halves.half_latency import total
from advisor.profilers.machines.catalog import Device
from advisor.profilers.support.fingerprint import check
from advisor.profilers.transmission.network import Link

LATENCIES = ("edge_latency", "link_latency", "cloud_latency")

Noun = TypeVar("Noun", Device, Link)

__all__ = ["check", "joined", "noun", "taken"]


def taken(measured: Profile) -> list[str]:
    """Columns that a given profile decides: all but the link's, which is the one that was asked for now.

    What it merely estimated of a cloud machine is estimated again, for the machine that was asked for.
    """
    again = {"link_latency", "latency", "edge_energy"}
    if "cloud_latency" in measured and measured["cloud_latency"].source != "measured":
        again.add("cloud_latency")
    return [column.name for column in measured if column.name not in again]


def joined(cost: Profile, measured: Profile) -> Profile:
    """Cost columns with those of a given profile, and the latency that then follows."""
    kept = {"device", "measured", "fingerprint", *(["cloud"] if "cloud_latency" in taken(measured) else [])}
    chosen = {name: measured[name] for name in taken(measured)}
    told = {key: value for key, value in measured.provenance.items() if key in kept}
    both = cost.joined(Profile(measured.cuts, chosen, told))
    parts = [[both[name].at(i) for i in range(len(cost.cuts))] for name in LATENCIES]
    sums = [total(estimates) for estimates in zip(*parts, strict=True)]
    why = ["; ".join(filter(None, reasons)) for reasons in zip(*(both[n].why for n in LATENCIES), strict=True)]
    latency = replace(Column.of_estimates("latency", "low", sums, why), method=cost["latency"].method)
    return Profile(both.cuts, {**both.columns, "latency": latency, "edge_energy": _energy(both)}, both.provenance)


def _energy(profile: Profile) -> Column:
    """Of the device that was measured, over the link that is asked for."""
    device, link = noun(Device, profile.provenance["device"]), noun(Link, profile.provenance["link"])
    cuts = profile.cuts
    sent = [0.0 if cut is cuts[-1] else float(cut.message_bytes) for cut in cuts]
    edge = [profile["edge_latency"].at(cut) for cut in cuts]
    found = [edge_energy(device, link, t, b, float(cuts[-1].message_bytes)) for t, b in zip(edge, sent, strict=True)]
    reasons = [e.method if math.isnan(e.value) else "" for e in found]
    known = next((e.method for e in found if not math.isnan(e.value)), profile["edge_energy"].method)
    return replace(Column.of_estimates("edge_energy", "low", found, reasons), method=known)


def noun(kind: type[Noun], row: Mapping[str, Any]) -> Noun:
    """A device or link from a profile's provenance, where an unknown figure is null."""
    names = [field.name for field in dataclasses.fields(kind)]
    told = {name: row[name] for name in names if row.get(name) is not None}
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
    return kind(**plain)
