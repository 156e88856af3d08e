"""Fits the latency model on the published measurements.

`python -m advisor.profilers.published.fitting` rewrites `facts/fits.toml`.

Rates of all machines of a runtime at once (`shared_rates.py`), then what networks alike tell (`kriging.py`); each
network is left out of all devices once to learn how wrong that is on networks it never saw. Devices with few networks
are pooled with kin: same runtime, kind and unit, non-negative least squares of work in units of datasheet peaks; there
each device is left out once.
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
from advisor.profilers.published.families import family
from advisor.profilers.published.features import ITEM_SIZE, Work
from advisor.profilers.published.fits import kin_runtime
from advisor.profilers.published.kriging import Learnt, learn
from advisor.profilers.published.shared_rates import Timed, fitted, mode

MIN_NETWORKS = 4
"""One more than the model has parameters: fewer say nothing of its error."""

PRIOR_WEIGHT = 2.0
"""Networks' worth of belief in the pooled error: a handful of points that happen to lie well proves no precision."""

SAME_NETWORK = {"mobilenet_v3_large?": "mobilenet_v3_large", "inception_v1": "googlenet"}
"""Published name -> the torchvision network whose work stands for it; `?` marks the publisher's silence on the size."""

KINSHIP = ("runtime", "precision", "unit", "kind")

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

    def demands(self) -> tuple[float, ...]:
        """What the machine has a rate for, in the order of `DEMANDS`."""
        item = ITEM_SIZE[PRECISION_CLASS[self.precision]]
        return self.work.demands(item, runtime_facts(self.runtime)["fused"], self.batch)

    def row(self) -> tuple[float, float, float]:
        """ops, MACs and bytes, for machines that borrow."""
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
    kinless = learnt(groups, lambda point: family(point.network))
    own = [_own(*parts) for parts in zip(groups, learnt(groups), kinless, fitted_rates(groups), strict=True)]
    kin = [fit for group in _grouped(_with_peaks(everything), _kinship) if (fit := _kin(group))]
    _widths(own, "networks")
    _widths(kin, "lenders")
    return {"own": own, "kin": kin}


def fitted_groups(all_points: list[Point]) -> list[list[Point]]:
    """Points by device, runtime and precision, where enough networks were measured for a fit of their own."""
    return [group for group in _grouped(all_points, _setting) if len({p.network for p in group}) >= MIN_NETWORKS]


def learnt(groups: list[list[Point]], name_of: Callable[[Point], str] = lambda point: point.network) -> list[Learnt]:
    """What networks alike tell of each group, those of one runtime together; each name left out of all at once.

    Args:
        groups: points of one machine each, as `fitted_groups`.
        name_of: of a point, what is left out with it.
    """
    found: dict[int, Learnt] = {}
    families = [kriging_family(group[0].runtime) for group in groups]
    for runtime in dict.fromkeys(families):
        members = [i for i, name in enumerate(families) if name == runtime]
        parts = [groups[i] for i in members]
        result = learn(
            [np.array([p.seconds for p in part]) for part in parts],
            [[(name_of(p), p.shape, p.work) for p in part] for part in parts],
            estimator(parts),
        )
        found.update(zip(members, result, strict=True))
    return [found[i] for i in range(len(groups))]


def timed(groups: Sequence[Sequence[Point]]) -> Timed:
    """The groups of one runtime, for `shared_rates.fitted`."""
    flat = [point for group in groups for point in group]
    precisions = [PRECISION_CLASS[group[0].precision] for group in groups]
    return Timed(
        demands=np.array([point.demands() for point in flat]),
        seconds=np.array([point.seconds for point in flat]),
        machine=np.repeat(np.arange(len(groups)), [len(group) for group in groups]),
        precision=np.array([sorted(set(precisions)).index(precision) for precision in precisions]),
        unit=[group[0].unit for group in groups],
    )


def estimator(groups: Sequence[Sequence[Point]]) -> Callable[[np.ndarray], np.ndarray]:
    """From which points are kept, over the groups of one runtime, to ln of the estimate of every point."""
    all_points = timed(groups)
    near = mode(all_points, np.ones(len(all_points.seconds), dtype=bool))

    def estimate(kept: np.ndarray) -> np.ndarray:
        rates = np.exp(fitted(all_points, kept, near))[all_points.machine]
        estimated: np.ndarray = np.log((all_points.demands * rates).sum(1))
        return estimated

    return estimate


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


def fitted_rates(groups: list[list[Point]]) -> list[list[float]]:
    """Rates of each group, in the order of `DEMANDS`, by all points."""
    found: dict[int, list[float]] = {}
    families = [kriging_family(group[0].runtime) for group in groups]
    for runtime in dict.fromkeys(families):
        members = [i for i, name in enumerate(families) if name == runtime]
        all_points = timed([groups[i] for i in members])
        rates = np.exp(fitted(all_points, np.ones(len(all_points.seconds), dtype=bool)))
        found.update(zip(members, rates.tolist(), strict=True))
    return [found[i] for i in range(len(groups))]


def _own(group: list[Point], found: Learnt, kinless: Learnt, rates: list[float]) -> dict[str, Any]:
    """A row of `fits.toml`; intervals are as wide as errors ask with a network and with its whole family left out."""
    seconds = np.array([p.seconds for p in group])
    errors = np.log(np.concatenate([seconds / found.left_out, seconds / kinless.left_out]))
    spreads = np.concatenate([found.spread, kinless.spread])
    return {
        **dict(zip(("device", "runtime", "precision", "unit"), _setting(group[0]), strict=True)),
        "rates": rates,
        "points": len(group),
        "networks": len({p.network for p in group}),
        "median_error": float(np.median(np.abs(found.left_out / seconds - 1))),
        "tail_factor": float(np.exp(np.quantile(np.abs(errors), 0.9))),
        "left_out_log_rms": float(np.sqrt(np.mean((errors / spreads) ** 2))),
        "left_out_90": float(np.quantile(np.abs(errors / spreads), 0.9)),
        "neighbours": found.neighbours,
    }


def _kin(group: list[Point]) -> dict[str, Any] | None:
    lenders = list(dict.fromkeys(p.device for p in group))
    if len({p.network for p in group}) < 2 or len(group) < MIN_NETWORKS:
        return None
    features, seconds, owners, weights = _of_kin(group)
    per_op, mac_factor, byte_factor = solve(features, seconds, weights)
    estimated = left_out(features, seconds, owners, weights) if len(lenders) > 1 else None
    return {
        **dict(zip(KINSHIP, _kinship(group[0]), strict=True)),
        "devices": lenders,
        "seconds_per_op": float(per_op),
        "mac_factor": float(mac_factor),
        "byte_factor": float(byte_factor),
        "points": len(group),
        "lenders": len(lenders) if estimated is not None else 0,
        "left_out_log_rms": _log_rms(estimated, seconds, weights) if estimated is not None else 0.0,
    }


def borrowed_left_out() -> Iterator[tuple[dict[str, Any], list[Point], np.ndarray]]:
    """Each group of kin with its row of `fits.toml` and the seconds of each device as if it had borrowed them."""
    rows_of = {tuple(fit[key] for key in KINSHIP): fit for fit in fit_all()["kin"]}
    for group in _grouped(_with_peaks(points()), _kinship):
        row = rows_of.get(_kinship(group[0]))
        if row is not None and row["lenders"] > 1:
            yield row, group, left_out(*_of_kin(group))


def _of_kin(group: list[Point]) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Work in units of datasheet peaks, seconds, devices, and weights by which each device counts alike."""
    owners = [p.device for p in group]
    at = {name: device(f"{name}:{group[0].runtime}:{group[0].precision}") for name in owners}
    features = np.array([_in_peaks(p, at[p.device]) for p in group])
    weights = np.array([1 / math.sqrt(owners.count(name)) for name in owners])
    return features, np.array([p.seconds for p in group]), owners, weights


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
    """Shrink each error towards that of all fits; intervals as wide as 90 % of errors ask, else by Student's t."""
    from scipy.stats import t

    total = sum(fit[size] for fit in fits)
    pooled = sum(fit[size] * fit["left_out_log_rms"] ** 2 for fit in fits) / total
    usual = sum(fit[size] * fit.get("left_out_90", 0.0) for fit in fits) / total
    for fit in fits:
        n = fit[size]
        variance = (n * fit["left_out_log_rms"] ** 2 + PRIOR_WEIGHT * pooled) / (n + PRIOR_WEIGHT)
        fit["log_sd"] = math.sqrt(variance)
        fit["half_width"] = float(t.ppf(0.95, n + PRIOR_WEIGHT - 1)) * fit["log_sd"]
        if "left_out_90" in fit:
            fit["half_width"] = (n * fit["left_out_90"] + PRIOR_WEIGHT * usual) / (n + PRIOR_WEIGHT)


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
