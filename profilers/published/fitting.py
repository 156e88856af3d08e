"""Fits the latency model on the published measurements.

`python -m advisor.profilers.published.fitting` rewrites `facts/fits.toml`.

Non-negative least squares in relative error, then what networks alike tell (`kriging.py`); each network is left out
of all devices once to learn how wrong that is on networks it never saw. Devices with few networks are pooled with
kin: same runtime, kind and unit, work in units of datasheet peaks; there each device is left out once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advisor.profilers.facts import FOLDER, shipped
from advisor.profilers.machines.catalog import PRECISION_CLASS, Device, device, devices, runtime_facts, runtime_family
from advisor.profilers.published.features import ITEM_SIZE, Work
from advisor.profilers.published.fits import kin_runtime
from advisor.profilers.published.kriging import Learnt, learn

MIN_NETWORKS = 4
"""One more than the model has parameters: fewer say nothing of its error."""

PRIOR_WEIGHT = 2.0
"""Networks' worth of belief in the pooled error: a handful of points that happen to lie well proves no precision."""

SAME_NETWORK = {"mobilenet_v3_large?": "mobilenet_v3_large", "inception_v1": "googlenet"}
"""Published name -> the torchvision network whose work stands for it; `?` marks the publisher's silence on the size."""

UNITS = {"cpu-big": "cpu", "gpu-vulkan": "gpu", "2xdla": "dla"}


@dataclass(frozen=True)
class Point:
    """One published latency with the work behind it."""

    device: str
    runtime: str
    precision: str
    unit: str
    network: str
    shape: str
    batch: int
    work: Work
    seconds: float

    def row(self) -> tuple[float, float, float]:
        """ops, MACs and bytes, each a factor of one of the model's parameters."""
        item = ITEM_SIZE[PRECISION_CLASS[self.precision]]
        traffic = self.work.traffic(item, runtime_facts(self.runtime)["fused"], self.batch)
        return self.work.ops, self.batch * self.work.macs, traffic


def points() -> list[Point]:
    """Every published latency of a network whose work is known (`features.toml`)."""
    works = {(name, shape): Work(*numbers) for name, shape, *numbers in shipped("features.toml")["networks"]}
    found = []
    for series in shipped("latencies.toml")["series"]:
        unit = UNITS.get(series["unit"], series["unit"])
        for name, shape, batch, milliseconds in series["points"]:
            name, shape = SAME_NETWORK.get(name, name), shape.rstrip("?")
            if (name, shape) in works:
                context = (series["device"], series["runtime"], series["precision"], unit)
                found.append(Point(*context, name, shape, batch, works[name, shape], milliseconds * 1e-3))
    return found


def solve(features: np.ndarray, seconds: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Non-negative parameters `[3]` that minimise Σ w²·(estimated/measured − 1)².

    Args:
        features: `[points, 3]`.
        seconds: `[points]`, measured.
        weights: `[points]`, or None for equal ones.
    """
    from scipy.optimize import nnls

    w = np.ones(len(seconds)) if weights is None else weights
    relative = features / seconds[:, None] * w[:, None]
    scale = np.linalg.norm(relative, axis=0)
    scale[scale == 0] = 1.0
    result: np.ndarray = nnls(relative / scale, w)[0] / scale
    return result


def left_out(
    features: np.ndarray, seconds: np.ndarray, groups: Sequence[str], weights: np.ndarray | None = None
) -> np.ndarray:
    """Estimated seconds `[points]` of each group, by a fit on all other groups."""
    estimated = np.empty(len(seconds))
    names = np.asarray(groups)
    for group in dict.fromkeys(groups):
        out = names == group
        kept = None if weights is None else weights[~out]
        estimated[out] = features[out] @ solve(features[~out], seconds[~out], kept)
    return estimated


def fit_all() -> dict[str, list[dict[str, Any]]]:
    """The contents of `fits.toml`: `own` fits of a device, runtime and precision; `kin` by datasheet peaks."""
    everything = points()
    groups = fitted_groups(everything)
    own = [_own(group, found) for group, found in zip(groups, learnt(groups), strict=True)]
    kin = [fit for group in _grouped(_with_peaks(everything), _kinship) if (fit := _kin(group))]
    _widths(own, "networks")
    _widths(kin, "lenders")
    return {"own": own, "kin": kin}


def fitted_groups(all_points: list[Point]) -> list[list[Point]]:
    """Points by device, runtime and precision, where enough networks were measured for a fit of their own."""
    return [group for group in _grouped(all_points, _setting) if len({p.network for p in group}) >= MIN_NETWORKS]


def learnt(groups: list[list[Point]]) -> list[Learnt]:
    """What networks alike tell of each group, those of one runtime together; each network left out of all at once."""
    found: dict[int, Learnt] = {}
    families = [kriging_family(group[0].runtime) for group in groups]
    for family in dict.fromkeys(families):
        members = [i for i, name in enumerate(families) if name == family]
        parts = [groups[i] for i in members]
        result = learn(
            [rows(part) for part in parts],
            [np.array([p.seconds for p in part]) for part in parts],
            [[(p.network, p.shape, p.work) for p in part] for part in parts],
            solve,
        )
        found.update(zip(members, result, strict=True))
    return [found[i] for i in range(len(groups))]


def kriging_family(runtime: str) -> str:
    """Runtimes that err alike: thread counts and versions of one, and the two front ends of Qualcomm's compiler."""
    family = runtime_family(runtime)
    return "qnn" if family in ("tflite-qnn", "qnn-dlc") else family


def rows(group: Sequence[Point]) -> np.ndarray:
    """`[points, 3]`: ops, MACs and bytes of each."""
    return np.array([p.row() for p in group], dtype=float)


def _setting(point: Point) -> tuple[str, ...]:
    return point.device, point.runtime, point.precision, point.unit


def _kinship(point: Point) -> tuple[str, ...]:
    kind = device(f"{point.device}:{point.runtime}:{point.precision}").kind
    return kin_runtime(point.runtime), PRECISION_CLASS[point.precision], point.unit, kind


def _grouped(all_points: list[Point], key: Callable[[Point], tuple[str, ...]]) -> Iterator[list[Point]]:
    groups: dict[tuple[str, ...], list[Point]] = {}
    for point in all_points:
        groups.setdefault(key(point), []).append(point)
    for name in sorted(groups):
        yield groups[name]


def _own(group: list[Point], found: Learnt) -> dict[str, Any]:
    features, seconds = rows(group), np.array([p.seconds for p in group])
    per_op, per_mac, per_byte = solve(features, seconds)
    errors = np.log(seconds / found.left_out)
    return {
        **dict(zip(("device", "runtime", "precision", "unit"), _setting(group[0]), strict=True)),
        "seconds_per_op": float(per_op),
        "seconds_per_mac": float(per_mac),
        "seconds_per_byte": float(per_byte),
        "points": len(group),
        "networks": len({p.network for p in group}),
        "median_error": float(np.median(np.abs(found.left_out / seconds - 1))),
        "left_out_log_rms": float(np.sqrt(np.mean((errors / found.spread) ** 2))),
        "neighbours": found.neighbours,
    }


def _kin(group: list[Point]) -> dict[str, Any] | None:
    lenders = list(dict.fromkeys(p.device for p in group))
    if len({p.network for p in group}) < 2 or len(group) < MIN_NETWORKS:
        return None
    at = {name: device(f"{name}:{group[0].runtime}:{group[0].precision}") for name in lenders}
    features = np.array([_in_peaks(p, at[p.device]) for p in group])
    seconds = np.array([p.seconds for p in group])
    owners = [p.device for p in group]
    weights = np.array([1 / math.sqrt(owners.count(name)) for name in owners])
    per_op, mac_factor, byte_factor = solve(features, seconds, weights)
    estimated = left_out(features, seconds, owners, weights) if len(lenders) > 1 else None
    return {
        **dict(zip(("runtime", "precision", "unit", "kind"), _kinship(group[0]), strict=True)),
        "devices": lenders,
        "seconds_per_op": float(per_op),
        "mac_factor": float(mac_factor),
        "byte_factor": float(byte_factor),
        "points": len(group),
        "lenders": len(lenders) if estimated is not None else 0,
        "left_out_log_rms": _log_rms(estimated, seconds, weights) if estimated is not None else 0.0,
    }


def _with_peaks(all_points: list[Point]) -> list[Point]:
    """Points on devices whose datasheet describes the processor that ran them."""
    known = {d.name: d for d in devices()}
    kept = []
    for point in all_points:
        if point.device in known and known[point.device].unit == point.unit:
            at = device(f"{point.device}:{point.runtime}:{point.precision}")
            kept += [point] if math.isfinite(at.peak * at.bandwidth) else []
    return kept


def _in_peaks(point: Point, at: Device) -> tuple[float, float, float]:
    ops, macs, traffic = point.row()
    return ops, 2 * macs / at.peak, traffic / at.bandwidth


def _log_rms(estimated: np.ndarray, seconds: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Root mean square of ln(measured/estimated); an estimate of zero counts as one of a hundredth of the time."""
    errors = np.log(np.maximum(estimated / seconds, 0.01))
    return float(np.sqrt(np.average(errors**2, weights=None if weights is None else weights**2)))


def _widths(fits: list[dict[str, Any]], size: str) -> None:
    """Shrink each error towards that of all fits, then widen by Student's t for the few networks or devices."""
    from scipy.stats import t

    total = sum(fit[size] for fit in fits)
    pooled = sum(fit[size] * fit["left_out_log_rms"] ** 2 for fit in fits) / total
    for fit in fits:
        n = fit[size]
        variance = (n * fit["left_out_log_rms"] ** 2 + PRIOR_WEIGHT * pooled) / (n + PRIOR_WEIGHT)
        fit["log_sd"] = math.sqrt(variance)
        fit["half_width"] = float(t.ppf(0.95, n + PRIOR_WEIGHT - 1)) * fit["log_sd"]


def write(folder: Path = FOLDER) -> None:
    """Rewrite `fits.toml`."""
    from advisor.files import write_atomically

    lines = ["# Written by `python -m advisor.profilers.published.fitting` from the other files here. SI units."]
    for table, fits in fit_all().items():
        for fit in fits:
            lines += ["", f"[[{table}]]", *(f"{key} = {_toml(value)}" for key, value in fit.items())]
    write_atomically(folder / "fits.toml", "\n".join(lines) + "\n")


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    write()
