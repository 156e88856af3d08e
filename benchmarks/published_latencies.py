"""How wrong the estimator is on networks it never saw: each network left out of all devices at once.

python benchmarks/published_latencies.py

The limit: published figures of one network on one device differ by 5 to 30 % between sources, and no left-out error can
be below that. Targets: median at most 10 % on the Jetson Nano and AGX Xavier, 15 % (and 45 % at the 90th percentile)
over all rows with at least 8 networks; 85 to 95 % of the points inside the 90 % interval.
"""

from __future__ import annotations

import numpy as np

from advisor.profilers.published.fitting import fit_all, fitted_groups, learnt
from advisor.profilers.published.kriging import Learnt
from advisor.profilers.published.least_squares import left_out
from advisor.profilers.published.published_points import points, rows

MODELS = 8


def main() -> None:
    """Print the table and the totals, beside the plain three-parameter fit in the same run."""
    groups = fitted_groups(points())
    own = fit_all()["own"]
    totals: dict[str, list[np.ndarray]] = {"error": [], "plain": [], "inside": [], "jetson": []}
    print(f"{'device:runtime:precision':52}{'points':>7}{'plain':>8}{'median':>8}{'p90':>8}{'inside':>8}")
    for group, found, row in zip(groups, learnt(groups), own, strict=True):
        if row["networks"] < MODELS:
            continue
        measured = np.array([point.seconds for point in group])
        plain = left_out(rows(group), measured, [point.network for point in group])
        error, inside = np.abs(found.left_out / measured - 1), _inside(found, measured, row["half_width"])
        key = f"{row['device']}:{row['runtime']}:{row['precision']}"
        shares = [np.median(np.abs(plain / measured - 1)), np.median(error), np.quantile(error, 0.9), inside.mean()]
        print(f"{key:52}{len(group):7}" + "".join(f"{100 * share:7.1f}%" for share in shares))
        totals["error"].append(error)
        totals["plain"].append(np.abs(plain / measured - 1))
        totals["inside"].append(inside)
        if row["device"] in ("jetson-nano", "jetson-agx-xavier"):
            totals["jetson"].append(error)
    joined = {name: np.concatenate(parts) for name, parts in totals.items()}
    for name in ("plain", "error"):
        median, high = np.median(joined[name]), np.quantile(joined[name], 0.9)
        print(
            f"{name}: median {100 * median:.1f} %, 90th percentile {100 * high:.1f} % over {len(joined[name])} points"
        )
    print(f"Jetson Nano and AGX Xavier: median {100 * np.median(joined['jetson']):.1f} %")
    print(f"inside the 90 % interval: {100 * np.mean(joined['inside']):.1f} %")


def _inside(found: Learnt, measured: np.ndarray, half_width: float) -> np.ndarray:
    result: np.ndarray = np.abs(np.log(measured / found.left_out)) <= half_width * found.spread
    return result


if __name__ == "__main__":
    main()
