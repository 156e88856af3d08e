"""Cost of every cut: one profiler a file, all listed here."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from advisor.estimate import Estimate
from advisor.profilers.machines.catalog import LOCAL, Device, device, devices
from advisor.profilers.transmission.network import Link, link, links
from advisor.profilers.transmission.transfer import payload_within, percentile, transfer, transfer_time
from advisor.progress import Progress, silence
from advisor.registry import PlugInWarning, Registry

if TYPE_CHECKING:
    from advisor.columns import Column, Profile
    from advisor.graph import PartitionGraph
    from advisor.profilers.support.context import ProfilingContext

DEFAULT_DEVICE, DEFAULT_LINK, DEFAULT_CLOUD = "jetson", "wifi", "t4"

_BUILT_IN = {
    "macs": "advisor.profilers.macs:columns",
    "memory": "advisor.profilers.memory:columns",
    "latency": "advisor.profilers.latency:columns",
    "throughput": "advisor.profilers.throughput:columns",
    "energy": "advisor.profilers.energy:columns",
}


class Profiler(Protocol):
    """One profiler: a function that gives one or more columns, aligned with the cuts."""

    def __call__(self, context: ProfilingContext, /) -> tuple[Column, ...]:
        """The cost of each cut; NaN with its reason where it cannot be told."""


def _made(found: object) -> Profiler:
    if not callable(found):
        raise TypeError("it cannot be called with a ProfilingContext")
    member: Profiler = found
    return member


PROFILERS: Registry[Profiler] = Registry("profiler", _BUILT_IN, _made)
"""By name, in the order of the report. One more is one more file and one more line here; one of a user's is an entry
point of `partition_advisor.profilers`."""


def profile(
    graph: PartitionGraph,
    device: str | Device = DEFAULT_DEVICE,
    link: str | Link = DEFAULT_LINK,
    cloud: str | Device = DEFAULT_CLOUD,
    *,
    extra: str | Path | None = None,
    progress: Progress = silence,
    limit: float | None = None,
    also: Sequence[str] = (),
) -> Profile:
    """All cost columns of every cut, for one sample.

    `macs`, `params`, `edge_memory`, `edge_latency` and `edge_energy` are of the edge half up to the cut,
    `cloud_latency` of the rest, `bytes` and `link_latency` of the activation; `latency` is edge + link + cloud.

    Args:
        graph: the traced model.
        device: key `name[:runtime[:precision[@mode]]]`, an alias, `local` (measured here), or `ssh://user@host[:port]`
            (measured there, see `ssh.Address`).
        link: preset, or `bandwidth=20Mbps,rtt=15ms[,down=…,jitter=…]`.
        cloud: as `device`.
        extra: the user's own TOML with further devices and links.
        progress: told the share that is done, 0 to 1.
        limit: seconds of timing where something is measured; None for the usual.
        also: further profilers, each as `package.module:Name`.

    Raises:
        AdvisorError: on an unknown device or link, or one that no published figure supports; on a further profiler
            that cannot be loaded.
    """
    from advisor.columns import Profile
    from advisor.profilers.support.context import ProfilingContext

    context = ProfilingContext(
        graph, _device(device, extra), _link(link, extra), _device(cloud, extra), progress, limit
    )
    members = PROFILERS.working() | {path: PROFILERS.find(path) for path in also}
    found: dict[str, Column] = {}
    given: dict[str, list[str]] = {}
    for done, (name, member) in enumerate(members.items(), start=1):
        columns = _columns(name, member, context, found)
        found |= columns
        given[name] = list(columns)
        progress(done / len(members))
    return Profile(graph.cuts, found, _provenance(context, found, given))


def _columns(name: str, member: Profiler, context: ProfilingContext, before: Mapping[str, Column]) -> dict[str, Column]:
    """What one profiler gives; one of a user's that fails, or claims another's column, is left out, which is said."""
    if name in PROFILERS.built_in:
        return {column.name: column for column in member(context)}
    try:
        columns = {column.name: column for column in member(context)}
    except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything; it disables itself alone
        return _left_out(name, f"it failed ({type(error).__name__}: {error})")
    if taken := sorted(before.keys() & columns):
        return _left_out(name, f"{taken[0]} is measured already")
    if any(len(column) != len(context.graph.cuts) for column in columns.values()):
        return _left_out(name, "its columns have not one value a cut")
    return columns


def _left_out(name: str, why: str) -> dict[str, Column]:
    warnings.warn(f"The profiler {name!r} is left out: {why}.", PlugInWarning, stacklevel=3)
    return {}


def estimate(graph: PartitionGraph, key: str | Device, extra: str | Path | None = None, *, batch: int = 1) -> Estimate:
    """Latency of the whole model on one machine, in seconds; `local` and `ssh://…` are measured.

    Args:
        graph: the traced model.
        key: `name[:runtime[:precision[@mode]]]`, an alias, `local`, `ssh://…` or a device file.
        extra: the user's own TOML with further devices.
        batch: samples that are computed together; other than 1 for catalog devices only.

    Raises:
        AdvisorError: on an unknown device, one that no published latency supports, or a batch it cannot be told of.
    """
    from advisor.profilers.support.context import ProfilingContext

    machine = _device(key, extra)
    if batch != 1:
        return _of_batch(graph, machine, batch)
    return ProfilingContext(graph, machine, _link(DEFAULT_LINK, None), machine).on_device.whole


def _of_batch(graph: PartitionGraph, machine: Device, batch: int) -> Estimate:
    from advisor.errors import AdvisorError
    from advisor.profilers.machines.catalog import is_remote
    from advisor.profilers.published.features import edge_work
    from advisor.profilers.published.fits import fit_for
    from advisor.profilers.support.context import ProfilingContext
    from advisor.profilers.throughput import batched

    if batch < 1 or machine.calibration or machine.name == LOCAL or is_remote(machine.name):
        raise AdvisorError(
            f"A batch of {batch} cannot be estimated for {machine}.", "Take a catalog device, or batch 1."
        )
    whole = edge_work(ProfilingContext(graph, machine, _link(DEFAULT_LINK, None), machine).pieces)[-1]
    fit = fit_for(machine).adapted(whole)
    seconds, _ = batched(fit, whole, batch)
    low, high = fit.interval(seconds)
    return Estimate(seconds, seconds * fit.log_sd, low, high, "s", "estimated", f"{fit.basis}; batch {batch}")


def _device(wanted: str | Device, extra: str | Path | None) -> Device:
    from advisor.profilers.machines import catalog

    return wanted if isinstance(wanted, Device) else catalog.device(wanted, extra)


def _link(wanted: str | Link, extra: str | Path | None) -> Link:
    from advisor.profilers.transmission import network

    return wanted if isinstance(wanted, Link) else network.link(wanted, extra)


def recorded(device: Device, link: Link, cloud: Device) -> dict[str, Any]:
    """Where a profile is of, as it records that."""
    return {"device": _plain(device), "link": _plain(link), "cloud": _plain(cloud)}


def _provenance(context: ProfilingContext, found: dict[str, Column], given: dict[str, list[str]]) -> dict[str, Any]:
    from advisor.profilers.support.fingerprint import fingerprint

    notes = [
        *context.on_device.notes,
        *context.on_cloud.notes,
        *(f"{context.link.name}: {a}" for a in context.link.assumed),
    ]
    memory = context.memory
    needs = zip(context.graph.cuts, found["edge_memory"].values, strict=True)
    too_large = [(cut.name, need - memory) for cut, need in needs if need > memory]
    if too_large:
        most = max(swapped for _, swapped in too_large)
        notes.append(
            f"{context.device.key} has {memory / 1e9:.3g} GB: the edge half does not fit at "
            f"{', '.join(name for name, _ in too_large)}; up to {most / 1e9:.3g} GB would be swapped, "
            "which is not timed"
        )
    measured = {
        role: dict(half.facts)
        for role, half in (("device", context.on_device), ("cloud", context.on_cloud))
        if half.facts
    }
    return {
        "fingerprint": fingerprint(context.graph),
        **({"measured": measured} if measured else {}),
        **recorded(context.device, context.link, context.cloud),
        "cost": {
            "notes": list(dict.fromkeys(notes)),
            "macs_not_counted": context.counted.unsupported,
            "columns": given,
        },
    }


def _plain(noun: Device | Link) -> dict[str, Any]:
    """A row for JSON, where an unknown figure is null."""
    row = {"key": noun.key if isinstance(noun, Device) else noun.name, **dataclasses.asdict(noun)}
    return {
        k: None if isinstance(v, float) and not math.isfinite(v) else list(v) if isinstance(v, tuple) else v
        for k, v in row.items()
    }


__all__ = [
    "DEFAULT_CLOUD",
    "DEFAULT_DEVICE",
    "DEFAULT_LINK",
    "LOCAL",
    "PROFILERS",
    "Device",
    "Link",
    "Profiler",
    "device",
    "devices",
    "estimate",
    "link",
    "links",
    "payload_within",
    "percentile",
    "profile",
    "recorded",
    "transfer",
    "transfer_time",
]
