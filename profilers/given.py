"""A profile that was measured earlier, on the device: which of its columns count, and whether it is of this model."""

from __future__ import annotations

from dataclasses import replace

from advisor.columns import Column, Profile
from advisor.profilers.fingerprint import check
from advisor.profilers.halves import total

LATENCIES = ("edge_latency", "link_latency", "cloud_latency")

__all__ = ["check", "joined", "taken"]


def taken(measured: Profile) -> list[str]:
    """Columns that a given profile decides: all but the link, which is the one that was asked for now.

    What it merely estimated of a cloud machine is estimated again, for the machine that was asked for.
    """
    again = {"link_latency", "latency"}
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
    return Profile(both.cuts, {**both.columns, "latency": latency}, both.provenance)
