"""The latency model, time = Σ rate · demand over kinds of work, with rates fitted on published measurements.

Parameters were fitted by `fitting.py` and are shipped in `fits.toml`, so that nothing is fitted at run time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from advisor.errors import AdvisorError
from advisor.profilers.facts import Table, shipped
from advisor.profilers.machines.catalog import PRECISION_CLASS, Device, runtime_family
from advisor.profilers.published.features import DEMANDS, ITEM_SIZE, Work
from advisor.profilers.published.resemblance import Neighbours, spread, traits

ROUGH = 2.0
"""A device whose estimates are off by a larger factor one time in ten is marked."""

NORMAL_90 = 1.645

COMPUTE = ("winograd", "dense", "thin")
"""Demands that a power mode's compute rate slows; the others follow clocks that it says nothing of."""


@dataclass(frozen=True)
class Fit:
    """Parameters for one device, runtime and precision, and how wrong they were on networks left out of the fit.

    Attributes:
        rates: seconds for one of each of `features.DEMANDS`.
        item_size, fused: how bytes are counted, see `Work.traffic`.
        half_width: half of the 90 % interval of ln(measured / estimated).
        log_sd: standard deviation of ln(measured / estimated), for networks left out.
        stretch: factor by which a power mode's unknown clocks widen the interval, either way.
        basis: what it was fitted on, in one sentence.
        neighbours: what networks alike tell; `half_width` and `log_sd` are then in units of `resemblance.spread`.
    """

    rates: tuple[float, ...]
    item_size: int
    fused: bool
    half_width: float
    log_sd: float
    basis: str
    stretch: float = 1.0
    neighbours: Neighbours | None = None

    def adapted(self, whole: Work) -> Fit:
        """The fit for one network: corrected by what networks alike took, with the interval that follows."""
        if self.neighbours is None:
            return self
        factor, (nearest, name) = self.neighbours.factor(whole), self.neighbours.nearest(whole)
        width = spread(nearest, self.neighbours.anywhere(whole))
        basis = f"{self.basis}; corrected by {100 * (factor - 1):+.0f} % after networks alike"
        basis += f", the nearest here {name} (likeness {nearest:.2f})" if name else ""
        return replace(
            self,
            rates=tuple(rate * factor for rate in self.rates),
            half_width=self.half_width * width,
            log_sd=self.log_sd * width,
            basis=basis,
            neighbours=None,
        )

    def seconds(self, work: Work, batch: int = 1) -> float:
        """Estimated time of some work for a batch: operations, weights and the graph are paid for once."""
        demands = work.demands(self.item_size, self.fused, batch)
        return math.fsum(rate * demand for rate, demand in zip(self.rates, demands, strict=True))

    def interval(self, seconds: float) -> tuple[float, float]:
        """90 % interval around an estimated time."""
        widest = math.exp(self.half_width) * self.stretch
        return seconds / widest, seconds * widest


def fit_for(device: Device) -> Fit:
    """Parameters for a catalog device: its own where enough networks were measured on it, else borrowed from kin.

    Kin have the same runtime; their efficiencies, as shares of the datasheet peaks, are applied to this device's peaks.

    Raises:
        AdvisorError: when neither is possible; the message says what is missing.
    """
    own = [row for row in shipped("fits.toml")["own"] if _matches(row, device)]
    return _own(own[0], device) if own else _borrowed(_kin(device), device)


def _matches(row: Table, device: Device) -> bool:
    return (row["device"], row["runtime"], row["precision"]) == (device.name, device.runtime, device.precision)


def _own(row: Table, device: Device) -> Fit:
    basis = (
        f"{'rough: ' if row['tail_factor'] > ROUGH else ''}fitted on {row['points']} published latencies of"
        f" {row['networks']} networks on this device; a network left out was off by"
        f" {100 * row['median_error']:.0f} % (median), one in ten by a factor of {row['tail_factor']:.1f} or more"
    )
    return replace(_fit(row, device, row["rates"], basis), neighbours=_neighbours(row))


def _neighbours(row: Table) -> Neighbours:
    known = {
        f"{name} {shape}": traits(Work(*numbers)) for name, shape, *numbers in shipped("features.toml")["networks"]
    }
    names, coefficients, measured = zip(*row["neighbours"], strict=True)
    at = tuple(found for name in names if (found := known[name]) is not None)
    return Neighbours(names, at, coefficients, measured)


def _borrowed(row: Table, device: Device) -> Fit:
    per_mac = row["mac_factor"] * 2 / device.peak
    per_byte = row["byte_factor"] / device.bandwidth
    kin = f"{', '.join(row['devices'])} with {row['runtime']} in {row['precision']}"
    mark = "rough: " if NORMAL_90 * row["log_sd"] > math.log(ROUGH) else ""
    basis = f"{mark}too few published latencies of {device.key} itself: borrowed from kin ({kin})"
    basis += ", scaled by datasheet peaks"
    if PRECISION_CLASS[device.precision] != row["precision"]:
        basis += f"; kin ran in {row['precision']}, not {device.precision}"
    return _fit(row, device, same_for_all(row["seconds_per_op"], per_mac, per_byte), basis)


def same_for_all(per_op: float, per_mac: float, per_byte: float) -> tuple[float, ...]:
    """Rates of `features.DEMANDS` where multiply-adds are alike, bytes are alike, and a graph starts for nothing."""
    return per_op, per_mac, per_mac, per_mac, per_byte, per_byte, 0.0


def _fit(row: Table, device: Device, rates: Sequence[float], basis: str) -> Fit:
    share = device.compute_share
    other = math.sqrt(share)  # the middle between clocks that the mode leaves alone and clocks that it slows as much
    if share != 1.0:
        basis += f"; power mode {device.mode} keeps {share:g} of the compute rate, its other clocks are unknown"
    return Fit(
        rates=tuple(rate / (share if name in COMPUTE else other) for name, rate in zip(DEMANDS, rates, strict=True)),
        item_size=ITEM_SIZE[PRECISION_CLASS[device.precision]],
        fused=device.fused,
        half_width=row["half_width"],
        log_sd=row["log_sd"],
        basis=basis,
        stretch=1 / other,
    )


def kin_runtime(runtime: str) -> str:
    """Runtimes that may lend to each other: versions do, thread counts do not."""
    family = runtime_family(runtime)
    return runtime if family == "ncnn" else family


def _kin(device: Device) -> Table:
    wanted = PRECISION_CLASS[device.precision]
    rows = [
        row
        for row in shipped("fits.toml")["kin"]
        if row["runtime"] == kin_runtime(device.runtime) and row["unit"] == device.unit
    ]
    # The kind first: overhead per operation belongs to the host, and edge hosts are slower.
    rows.sort(key=lambda row: (row["kind"] != device.kind, row["precision"] != wanted))
    missing = [n for n, v in (("peak rate", device.peak), ("memory bandwidth", device.bandwidth)) if math.isnan(v)]
    measure = "Measure on the device itself, or choose another runtime: `advisor devices` lists them."
    if not rows:
        raise AdvisorError(f"No published latency tells how fast {device.key} is, nor any of its kin.", measure)
    if missing:
        raise AdvisorError(
            f"The {' and '.join(missing)} of {device.key} is unknown, so it cannot borrow from kin.", measure
        )
    chosen: Table = rows[0]
    return chosen
