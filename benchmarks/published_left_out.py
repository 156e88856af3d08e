"""How far published latencies are off when whole families of networks are left out of the fit.

Leaving out one network keeps its sisters in, which is kinder than a model of one's own. Prints a table; run with
`python benchmarks/published_left_out.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from advisor.profilers.published.fitting import (
    Point,
    fitted_groups,
    kriging_family,
    points,
    rows,
    solve,
)
from advisor.profilers.published.kriging import Learnt, learn

FAMILIES = {
    "vgg|alexnet": "plain", "resnext|wide_resnet|resnet": "resnet", "mobilenet|mnasnet": "mobilenet",
    "efficientnet": "efficientnet", "squeezenet": "squeezenet", "densenet": "densenet", "shufflenet": "shufflenet",
    "googlenet|inception": "inception", "regnet": "regnet", "vit|swin|deit": "transformer", "convnext": "convnext",
}  # fmt: skip
"""Pattern of a network's name -> its family; any other network is a family of its own."""

NORMAL_90 = 1.645


def family(network: str) -> str:
    """The family of a network."""
    return next((kin for pattern, kin in FAMILIES.items() if re.match(pattern, network)), network)


def left_out(name_of: Callable[[Point], str]) -> Iterator[tuple[list[Point], Learnt]]:
    """Each group of points with its estimates, everything of one name left out at once."""
    groups = fitted_groups(points())
    families = [kriging_family(group[0].runtime) for group in groups]
    for runtime in dict.fromkeys(families):
        parts = [group for group, own in zip(groups, families, strict=True) if own == runtime]
        found = learn(
            [rows(part) for part in parts],
            [np.array([p.seconds for p in part]) for part in parts],
            [[(name_of(p), p.shape, p.work) for p in part] for part in parts],
            solve,
        )
        yield from zip(parts, found, strict=True)


def kind(point: Point) -> str:
    """What rows are gathered by."""
    precision = "int8" if "int8" in point.precision else "fp16" if "16" in point.precision else "fp32"
    return f"{kriging_family(point.runtime)} {point.unit} {precision}"


def table(name_of: Callable[[Point], str]) -> list[str]:
    """Rows of Markdown: kind, points, median and 90th percentile of the relative error, coverage of the interval."""
    gathered: dict[str, list[tuple[float, bool]]] = {}
    for group, found in left_out(name_of):
        seconds = np.array([p.seconds for p in group])
        errors = np.log(seconds / found.left_out)
        scale = np.sqrt(np.mean((errors / found.spread) ** 2))
        inside = np.abs(errors) <= NORMAL_90 * max(scale, 1e-9) * found.spread
        for p, off, held in zip(group, np.abs(found.left_out / seconds - 1), inside, strict=True):
            for name in (kind(p), "all"):
                gathered.setdefault(name, []).append((float(off), bool(held)))
    lines = ["| kind | points | median error | 90th percentile | held |", "|---|---|---|---|---|"]
    for name, found_rows in sorted(gathered.items(), key=lambda item: (item[0] == "all", item[0])):
        off, held = np.array([r[0] for r in found_rows]), np.array([r[1] for r in found_rows])
        lines.append(
            f"| {name} | {len(off)} | {np.median(off):.1%} | {np.quantile(off, 0.9):.1%} | {held.mean():.0%} |"
        )
    return lines


def main() -> None:
    """Print both tables."""
    for title, name_of in (("One network", lambda p: p.network), ("A family of networks", lambda p: family(p.network))):
        print(f"\n{title} left out\n\n" + "\n".join(table(name_of)))


if __name__ == "__main__":
    main()
