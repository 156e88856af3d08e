"""How far published latencies are off when more than one network is left out of the fit.

Leaving out one network keeps its sisters in, which is kinder than a model of one's own. Four tables: one network, a
family of networks, and a third of each machine's networks left out, and whole machines, which then borrow from kin.
Nearly every machine's figures have one source, so that the last leaves out sources, too. A few seconds:

python benchmarks/published_left_out.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from advisor.profilers.published.families import family
from advisor.profilers.published.fitting import borrowed_left_out, estimator, fit_all, fitted_groups, kriging_family
from advisor.profilers.published.kriging import without
from advisor.profilers.published.published_points import Point, points

REPEATS = 4
Row = tuple[Point, float, bool]
"""A point, the relative error of its estimate, and whether its interval held it."""

Splits = Callable[[Sequence[Point], np.ndarray], Iterator[np.ndarray]]
"""From points and the index of each one's machine to what is left out together."""


def kind(point: Point) -> str:
    """What rows are gathered by."""
    precision = "int8" if "int8" in point.precision else "fp16" if "16" in point.precision else "fp32"
    return f"{kriging_family(point.runtime)} {point.unit} {precision}"


def named(name_of: Callable[[Point], str]) -> Splits:
    """Everything of one name at once."""

    def splits(found: Sequence[Point], _: np.ndarray) -> Iterator[np.ndarray]:
        names = np.array([name_of(p) for p in found])
        yield from (names == name for name in dict.fromkeys(names))

    return splits


def thirds(found: Sequence[Point], machine: np.ndarray) -> Iterator[np.ndarray]:
    """A third of each machine's points at once, drawn anew `REPEATS` times."""
    for seed in range(REPEATS):
        draw, part = np.random.default_rng(seed), np.zeros(len(found))
        for one in np.unique(machine):
            here = np.flatnonzero(machine == one)
            part[draw.permutation(here)] = np.arange(len(here)) % 3
        yield from (part == third for third in range(3))


def left_out(splits: Splits) -> Iterator[Row]:
    """Every point as estimated without it, and whether the interval that is shipped for its machine holds it."""
    groups, own = fitted_groups(points()), fit_all()["own"]
    families = [kriging_family(group[0].runtime) for group in groups]
    for runtime in dict.fromkeys(families):
        members = [i for i, name in enumerate(families) if name == runtime]
        parts = [groups[i] for i in members]
        flat, machine = [p for part in parts for p in part], np.repeat(members, [len(part) for part in parts])
        seconds, works, fit = np.array([p.seconds for p in flat]), [p.work for p in flat], estimator(parts)
        for out in splits(flat, machine):
            estimated, spreads = without(out, seconds, machine, works, fit)
            for i in np.flatnonzero(out):
                width = own[machine[i]]["half_width"] * spreads[i]
                yield flat[i], abs(estimated[i] / seconds[i] - 1), abs(np.log(seconds[i] / estimated[i])) <= width


def borrowed() -> Iterator[Row]:
    """Every point of a machine that borrows from kin, as if it had no figures of its own."""
    for row, group, estimated in borrowed_left_out():
        for point, seconds in zip(group, estimated, strict=True):
            off = np.log(point.seconds / max(seconds, 1e-9))
            yield point, abs(seconds / point.seconds - 1), abs(off) <= row["half_width"]


def table(found: Iterator[Row]) -> list[str]:
    """Rows of Markdown: kind, points, median and 90th percentile of the relative error, coverage of the interval."""
    gathered: dict[str, list[tuple[float, bool]]] = {}
    for point, off, held in found:
        for name in (kind(point), "all"):
            gathered.setdefault(name, []).append((float(off), bool(held)))
    lines = ["| kind | estimates | median error | 90th percentile | held |", "|---|---|---|---|---|"]
    for name, rows in sorted(gathered.items(), key=lambda item: (item[0] == "all", item[0])):
        off, held = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        lines.append(
            f"| {name} | {len(off)} | {np.median(off):.1%} | {np.quantile(off, 0.9):.1%} | {held.mean():.0%} |"
        )
    return lines


def main() -> None:
    """Print the tables."""
    tables = {
        "A third of each machine's networks": left_out(thirds),
        "One network, on every machine": left_out(named(lambda p: p.network)),
        "A family of networks, on every machine": left_out(named(lambda p: family(p.network))),
        "A machine, which then borrows from kin": borrowed(),
    }
    for title, found in tables.items():
        print(f"\n{title}\n\n" + "\n".join(table(found)), flush=True)


if __name__ == "__main__":
    main()
