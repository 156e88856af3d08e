"""Device and Link: what the edge, the network and the cloud can do, and where each figure comes from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from advisor.errors import AdvisorError
from advisor.profilers.boards.ssh import SCHEME, address
from advisor.profilers.facts import Table, check_keys, figure, nearest, read, shipped

PRECISION_CLASS = {"fp32": "fp32", "tf32": "fp32", "fp16": "fp16", "amp-fp16": "fp16", "int8": "int8", "w8a8": "int8"}
"""Precision as published -> which datasheet peak it runs at."""

_PEAK = {"fp32": "fp32_tflops", "fp16": "fp16_tflops", "int8": "int8_tops"}
_DEVICE_FIGURES = (*_PEAK.values(), "bandwidth_gbs", "copy_gbs", "memory_gb", "idle_w", "active_w")
_TEXTS = ("confidence", "source", "note")
_DEVICE_KEYS = ("kind", "unit", "default", "modes", "stands_for", "compute_basis", *_TEXTS, *_DEVICE_FIGURES)

KINDS = ("edge", "cloud")
LOCAL = "local"


@dataclass(frozen=True)
class Device:
    """A machine with the runtime, precision and power mode it works in; NaN where a figure is unknown.

    Attributes:
        name: row of the catalog.
        runtime, precision, mode: as in published measurements; mode "" is the one that was measured.
        kind: "edge" or "cloud".
        unit: which processor the peak figures describe: "cpu", "gpu", "npu" or "edgetpu".
        peak: dense operations per second at this precision (one multiply-add is two).
        bandwidth: bytes per second between processor and memory.
        copy_rate: bytes per second of a CPU memory copy, measured.
        memory: bytes.
        idle_power, active_power: watts.
        compute_share: share of the compute rate that the power mode keeps.
        fused: whether the runtime fuses elementwise operators.
        loads: file formats the runtime can load, directly or as `runtime_note` says.
        stands_for: what the name means, in one sentence.
        calibration: device file that `advisor calibrate` wrote, where this row comes from one.
    """

    name: str
    runtime: str
    precision: str
    mode: str = ""
    kind: str = "edge"
    unit: str = "cpu"
    peak: float = math.nan
    bandwidth: float = math.nan
    copy_rate: float = math.nan
    memory: float = math.nan
    idle_power: float = math.nan
    active_power: float = math.nan
    compute_share: float = 1.0
    fused: bool = False
    loads: tuple[str, ...] = ()
    runtime_note: str = ""
    stands_for: str = ""
    confidence: str = ""
    source: str = ""
    note: str = ""
    calibration: str = ""

    @property
    def key(self) -> str:
        """`name:runtime:precision[@mode]`; an address as it was given."""
        if is_remote(self.name):
            return self.name
        return f"{self.name}:{self.runtime}:{self.precision}" + (f"@{self.mode}" if self.mode else "")

    def __str__(self) -> str:
        return self.key


def devices(extra: str | Path | None = None) -> tuple[Device, ...]:
    """Every device of the catalog in its default runtime and precision, aliases included.

    Args:
        extra: the user's own TOML, in the form of `devices.toml`; its rows win.
    """
    rows, aliases = _device_rows(extra)
    return tuple(device(name, extra) for name in (*aliases, *rows))


def device(key: str, extra: str | Path | None = None) -> Device:
    """Look a device up by `name[:runtime[:precision[@mode]]]`, by alias, or `local` for this computer.

    `FILE.toml` is the device of that file, `FILE.toml:name` one of several.

    Raises:
        AdvisorError: on an unknown name, runtime, precision or mode (the nearest are named), or an absurd figure.
    """
    if is_remote(key):
        return remote_computer(key)
    if ".toml" in key:
        return _from_file(key.strip())
    rows, aliases = _device_rows(extra)
    base, _, mode = key.strip().partition("@")
    name, *rest = base.split(":")
    if name == LOCAL:
        return this_computer(*rest[:1])
    stands_for = ""
    if name in aliases:
        stands_for = aliases[name]["stands_for"]
        name, *usual = aliases[name]["device"].split(":")
        rest += usual[len(rest) :] if not rest or rest[0] == usual[0] else []
    if name not in rows:
        raise AdvisorError(f"There is no device {name!r}.", nearest(name, (*aliases, *rows, LOCAL)))
    if len(rest) > 2:
        raise AdvisorError(f"{key!r} is no device key.", "Write name[:runtime[:precision[@mode]]].")
    runtime, precision = _setting(name, rows[name], rest)
    found = _device(name, rows[name], runtime, precision, mode, stands_for)
    calibrated = extra is not None and name in read(extra).get("calibrations", {}) and not rest
    return replace(found, calibration=str(extra)) if calibrated else found


def _from_file(key: str) -> Device:
    """A device of a user's own file: the only one, or the one that is named after the file."""
    path, _, wanted = key.partition(".toml")
    path, wanted = f"{path}.toml", wanted.removeprefix(":")
    names = tuple(read(path).get("devices", {}))
    if not wanted and len(names) != 1:
        raise AdvisorError(f"{path} has {len(names)} devices: {', '.join(names)}.", f"Name one: {path}:NAME.")
    return device(wanted or names[0], path)


MEASURED_RUNTIMES = {"pytorch-eager": ("pt2",), "torch-compile": ("pt2",), "onnxruntime": ("onnx",)}
"""What can be measured on this computer, with the formats it loads."""


def this_computer(runtime: str = "pytorch-eager") -> Device:
    """The computer this runs on, measured on its CPU.

    Raises:
        AdvisorError: on a runtime that cannot be measured.
    """
    if runtime not in MEASURED_RUNTIMES:
        raise AdvisorError(f"{LOCAL} cannot measure {runtime!r}.", f"It can: {', '.join(MEASURED_RUNTIMES)}.")
    pages = {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(getattr(os, "sysconf_names", {}))
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if pages else math.nan
    stands_for = "this computer's CPU, measured now"
    return Device(LOCAL, runtime, "fp32", memory=memory, loads=MEASURED_RUNTIMES[runtime], stands_for=stands_for)


def is_remote(key: str) -> bool:
    """Whether a key names a machine to measure over ssh."""
    return key.strip().startswith(SCHEME)


def remote_computer(key: str) -> Device:
    """A machine that is measured over ssh, when its times are asked for.

    Raises:
        AdvisorError: when the key is no address.
    """
    at = address(key.strip())
    runtime = at.runtime or "measured"
    return Device(
        key.strip(), runtime, "fp32", loads=MEASURED_RUNTIMES.get(runtime, ()), stands_for=f"{at}, measured now"
    )


def _setting(name: str, row: Table, rest: list[str]) -> tuple[str, str]:
    usual = row.get("default", ":").split(":")
    if len(usual) != 2:
        raise AdvisorError(f"Device {name!r}: default = {row['default']!r}.", "Write it as runtime:precision.")
    runtime = rest[0] if rest else usual[0]
    published = [
        s["precision"] for s in shipped("latencies.toml")["series"] if (s["device"], s["runtime"]) == (name, runtime)
    ]
    if len(rest) == 2:
        precision = rest[1]
    elif runtime == usual[0]:
        precision = usual[1]
    else:
        precision = published[0] if published else "fp32"
    if not runtime:
        raise AdvisorError(f"Device {name!r} has no default runtime.", f"Write {name}:runtime:precision.")
    if precision not in PRECISION_CLASS:
        raise AdvisorError(f"There is no precision {precision!r}.", nearest(precision, PRECISION_CLASS))
    return runtime, precision


def _device(name: str, row: Table, runtime: str, precision: str, mode: str, stands_for: str) -> Device:
    where = f"Device {name!r}"
    check_keys(row, _DEVICE_KEYS, where)
    figures = {key: figure(row, key, where) for key in _DEVICE_FIGURES}
    share, about = _compute_share(name, row, mode), runtime_facts(runtime)
    if row.get("kind", "edge") not in KINDS:
        raise AdvisorError(f"{where}: kind = {row['kind']!r}.", f"It is one of {', '.join(KINDS)}.")
    return Device(
        name=name,
        runtime=runtime,
        precision=precision,
        mode=mode,
        kind=row.get("kind", "edge"),
        unit=row.get("unit", "cpu"),
        peak=figures[_PEAK[PRECISION_CLASS[precision]]] * 1e12,
        bandwidth=figures["bandwidth_gbs"] * 1e9,
        copy_rate=figures["copy_gbs"] * 1e9,
        memory=figures["memory_gb"] * 1e9,
        idle_power=figures["idle_w"],
        active_power=figures["active_w"] if share == 1.0 else math.nan,
        compute_share=share,
        fused=about["fused"],
        loads=tuple(about["loads"]),
        runtime_note=about.get("note", ""),
        stands_for=stands_for or row.get("stands_for", f"{name}, {runtime} in {precision}"),
        **{text: row.get(text, "") for text in _TEXTS},
    )


def _compute_share(name: str, row: Table, mode: str) -> float:
    modes: Mapping[str, float] = row.get("modes", {})
    if not mode:
        return 1.0
    if mode not in modes:
        known = f"Known: {', '.join(modes)}." if modes else "This row has none: leave @mode out."
        raise AdvisorError(f"Device {name!r} has no power mode {mode!r}.", known)
    share = modes[mode]
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise AdvisorError(f"Device {name!r}: power mode {mode} keeps {share} of the compute rate.", "Give 0 to 1.")
    return float(share)


def runtime_family(runtime: str) -> str:
    """The runtime without version or thread count: `ncnn-4T` is `ncnn`, `tensorrt-8.5` is `tensorrt`.

    Raises:
        AdvisorError: on an unknown runtime.
    """
    known = shipped("devices.toml")["runtimes"]
    parts = runtime.split("-")
    for size in range(len(parts), 0, -1):
        tail = parts[size:]
        if "-".join(parts[:size]) in known and all(part[:1].isdigit() for part in tail):
            return "-".join(parts[:size])
    raise AdvisorError(f"There is no runtime {runtime!r}.", nearest(runtime, known))


def runtime_facts(runtime: str) -> Table:
    """What a runtime loads and whether it fuses; see `devices.toml`."""
    facts: Table = shipped("devices.toml")["runtimes"][runtime_family(runtime)]
    return facts


def _device_rows(extra: str | Path | None) -> tuple[dict[str, Table], dict[str, Table]]:
    return tables("devices.toml", "devices", extra)


def tables(file: str, noun: str, extra: str | Path | None) -> tuple[dict[str, Table], dict[str, Table]]:
    """Rows and aliases of one of the catalog's files; rows of the user's own file win."""
    own: Table = read(extra) if extra is not None else {}
    rows = {**shipped(file)[noun], **own.get(noun, {})}
    return rows, {alias: row for alias, row in shipped(file)["aliases"].items() if alias not in own.get(noun, {})}
