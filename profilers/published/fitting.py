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
from pathlib import Path
from typing import Any

import numpy as np

from advisor.profilers.facts import FOLDER
from advisor.profilers.machines.catalog import PRECISION_CLASS, runtime_family
from advisor.profilers.published.families import family
from advisor.profilers.published.kin_fitting import fit_of_kin, in_peaks, with_peaks
from advisor.profilers.published.kriging import Learnt, learn
from advisor.profilers.published.least_squares import left_out
from advisor.profilers.published.published_points import KINSHIP, MIN_NETWORKS, Point, grouped, kinship, points, setting
from advisor.profilers.published.shared_rates import Timed, fitted, mode

PRIOR_WEIGHT = 2.0
"""Networks' worth of belief in the pooled error: a handful of points that happen to lie well proves no precision."""


def fit_all() -> dict[str, list[dict[str, Any]]]:
    """The contents of `fits.toml`: `own` fits of a device, runtime and precision; `kin` by datasheet peaks."""
    everything = points()
    groups = fitted_groups(everything)
    kinless = learnt(groups, lambda point: family(point.network))
    own = [_own(*parts) for parts in zip(groups, learnt(groups), kinless, fitted_rates(groups), strict=True)]
    kin = [fit for group in grouped(with_peaks(everything), kinship) if (fit := fit_of_kin(group))]
    _widths(own, "networks")
    _widths(kin, "lenders")
    return {"own": own, "kin": kin}


def fitted_groups(all_points: list[Point]) -> list[list[Point]]:
    """Points by device, runtime and precision, where enough networks were measured for a fit of their own."""
    return [group for group in grouped(all_points, setting) if len({p.network for p in group}) >= MIN_NETWORKS]


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
        **dict(zip(("device", "runtime", "precision", "unit"), setting(group[0]), strict=True)),
        "rates": rates,
        "points": len(group),
        "networks": len({p.network for p in group}),
        "median_error": float(np.median(np.abs(found.left_out / seconds - 1))),
        "tail_factor": float(np.exp(np.quantile(np.abs(errors), 0.9))),
        "left_out_log_rms": float(np.sqrt(np.mean((errors / spreads) ** 2))),
        "left_out_90": float(np.quantile(np.abs(errors / spreads), 0.9)),
        "neighbours": found.neighbours,
    }


def borrowed_left_out() -> Iterator[tuple[dict[str, Any], list[Point], np.ndarray]]:
    """Each group of kin with its row of `fits.toml` and the seconds of each device as if it had borrowed them."""
    rows_of = {tuple(fit[key] for key in KINSHIP): fit for fit in fit_all()["kin"]}
    for group in grouped(with_peaks(points()), kinship):
        row = rows_of.get(kinship(group[0]))
        if row is not None and row["lenders"] > 1:
            yield row, group, left_out(*in_peaks(group))


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
