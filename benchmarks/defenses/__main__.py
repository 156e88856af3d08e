"""Run the harness: hours are told before the start, rows are kept as they end, a second start goes on.

python -m benchmarks.defenses screen --hours 2            # every row: accuracy, cost, the quick attack
python -m benchmarks.defenses screen --cut 'stage2.2.relu#2' --method ridge --method bottleneck
python -m benchmarks.defenses worst --hours 2             # the worst set, at most 40 rows within 4 points of drop
python -m benchmarks.defenses table                       # tables, targets, picture
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

import advisor
from advisor.graph import PartitionGraph
from benchmarks.defenses import table
from benchmarks.defenses.measuring import Screened, Worst, screened, worst
from benchmarks.defenses.protocol import METHODS, MOST_WORST, NEAR_PP, VERSION, Row, roles, rows
from benchmarks.headline.rows import append, read

HERE = Path(__file__).parent
SCREEN, WORST = HERE / "screen.csv", HERE / "worst.csv"
Known = dict[tuple[str, str, float, int], float]


def main() -> None:
    """One piece of the work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("screen", "worst", "table"))
    parser.add_argument("--hours", type=float, default=2.0, help="begin no row after this")
    parser.add_argument("--cut", action="append", help="only these; may be repeated")
    parser.add_argument("--method", action="append", help="only these; may be repeated")
    parser.add_argument("--level", action="append", type=float, help="only these; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--state", type=Path, default=Path("out/defenses"), help="fits are kept there")
    given = parser.parse_args()
    if given.part == "table":
        print(table.written(read(SCREEN, Screened), read(WORST, Worst), HERE))
        return
    wanted = [
        row
        for row in (rows(given.seed) if given.part == "screen" else near(given.seed))
        if (not given.cut or row.cut in given.cut)
        and (not given.method or row.method in given.method)
        and (not given.level or row.level in given.level)
    ]
    torch.set_num_threads(given.threads)
    work(given.part, wanted, given.state, given.hours)


def near(seed: int) -> list[Row]:
    """Rows that the worst set attacks: those within the drop, the most private by `quick` first, every cut in turn."""
    found = {(s.cut, s.method, s.level, s.seed): s for s in read(SCREEN, Screened) if s.protocol == VERSION}
    kept = [row for row in rows(seed) if row.key in found and found[row.key].drop <= NEAR_PP]
    return sorted(kept, key=lambda row: -found[row.key].nmse)[:MOST_WORST]


def work(part: str, wanted: list[Row], state: Path, hours: float) -> None:
    """Measure the rows that are not kept yet."""
    path, kind = (SCREEN, Screened) if part == "screen" else (WORST, Worst)
    known = {(r.cut, r.method, r.level, r.seed): seconds_of(r) for r in read(path, kind) if r.protocol == VERSION}
    left = [row for row in wanted if row.key not in known]
    print(told(left, known, hours), flush=True)
    data, started = roles(), time.perf_counter()
    graph = advisor.trace(table.model(), data["private"][0][:2])
    measure: Callable[[PartitionGraph, Row, object, Path], Screened | Worst] = screened if part == "screen" else worst
    for row in left:
        if time.perf_counter() - started > 3600 * hours:
            print("The hours are over; start again to go on.")
            return
        found = measure(graph, row, data, state)
        append(path, [found])
        print(found, flush=True)


def told(left: list[Row], known: Known, hours: float) -> str:
    """How long the rest takes, by the rows that are kept."""
    if not known:
        return f"{len(left)} rows; {len(METHODS)} methods are fitted. How long a row takes is known after the first."
    mean = sum(known.values()) / len(known)
    return f"{len(left)} rows are left, about {len(left) * mean / 3600:.1f} h; this piece ends after {hours:g} h."


def seconds_of(row: Screened | Worst) -> float:
    """What a row took; a fit that serves several levels counts once for three."""
    return row.attack_s + (row.fit_s / 3 if isinstance(row, Screened) else 0.0)


if __name__ == "__main__":
    main()
