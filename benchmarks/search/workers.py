"""Trials a minute of one and of two workers on PostgreSQL, and what a storage and a cached evaluation cost.

`python -m benchmarks.search.workers` starts a PostgreSQL of its own; `--storage URL` takes a database of yours (studies
are left in it). A trial keeps one core busy for half a second, or it waits for one second: then other programs on the
machine take nothing from it, and what the storage costs is what keeps the ratio from 2. Runs of one and of two workers
take turns, and the ratio is the median over the turns; the load of the machine is told. Rows are kept in workers.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from advisor.cuts import Cut
from advisor.defenses import GaussianNoise
from advisor.planning.shared_study.results import Results, Task, digest_of
from advisor.planning.shared_study.study_storage import open_storage

HERE = Path(__file__).parent
TASKS, TURNS = 16, 3
BUSY, WAITING = 0.5, 1.0
"""Seconds of a trial."""
EMPTY = 100
"""Trials that compute nothing, for the overhead of one."""


def work(seconds: float) -> dict[str, float]:
    """A trial that keeps one core busy for so long."""
    import torch

    started, total = time.process_time(), 0.0
    while time.process_time() - started < seconds:
        total += float(torch.randn(64, 64).sum())
    return {"value": total}


def wait(seconds: float) -> dict[str, float]:
    """A trial that takes so long, whatever else the machine does."""
    time.sleep(seconds)
    return {"value": seconds}


def tasks(study: str, count: int, compute: Callable[[], dict[str, float]]) -> list[Task]:
    return [Task("bench", digest_of(study, number), compute) for number in range(count)]


def worker(url: str, study: str) -> None:
    """Take part; say how many were computed here, and when it began and ended."""
    import torch

    torch.set_num_threads(1)
    results = Results(open_storage(url))
    started = time.time()
    results.all(tasks(study, TASKS, partial(wait, WAITING) if study.startswith("wait") else partial(work, BUSY)))
    print(results.computed.total(), started, time.time())


def rate(url: str, kind: str, count: int) -> float:
    """Trials a minute of so many workers, from the first one's start to the last one's end."""
    study = f"{kind}-{uuid.uuid4().hex}"
    words = [sys.executable, "-m", "benchmarks.search.workers", "--storage", url, "--join", study]
    runs = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    told = [run.communicate()[0].split() for run in runs]
    assert sum(int(done) for done, _, _ in told) == TASKS, "a trial was computed twice"
    seconds = max(float(end) for _, _, end in told) - min(float(start) for _, start, _ in told)
    return 60 * TASKS / seconds


def overhead(url: str | None) -> tuple[float, float]:
    """Milliseconds of a trial that computes nothing, as the clock and this process's processor time have it."""
    results, study = Results(open_storage(url)), uuid.uuid4().hex
    started, worked = time.perf_counter(), time.process_time()
    results.all(tasks(study, EMPTY, lambda: {}))
    return 1e3 * (time.perf_counter() - started) / EMPTY, 1e3 * (time.process_time() - worked) / EMPTY


def cached(repeats: int = 5) -> Iterator[tuple[str, float, float, float]]:
    """Cut, and the processor's milliseconds of an evaluation of accuracy: known by its digest, over the activation that
    is kept, through the whole model."""
    from advisor.payload import Payload
    from benchmarks.search.digits import evaluator

    pricer = evaluator()
    for cut in pricer.candidates[:: max(1, len(pricer.candidates) // 4)]:
        levels = [GaussianNoise(1.0 + number) for number in range(repeats)]
        pricer.accuracy(cut, GaussianNoise(0.5))  # keeps the activation
        for level in levels:
            pricer.evaluate(cut, level)

        def whole(level: GaussianNoise, cut: Cut = cut) -> object:
            payload = Payload.of(pricer.graph, cut, level)
            return pricer.undefended.of(payload.scores_of(pricer.evaluation, 0, len(pricer.rows)))

        told = []
        for act in (partial(pricer.evaluate, cut), partial(pricer.accuracy, cut), whole):
            started = time.process_time()
            for level in levels:
                act(level)
            told.append(1e3 * (time.process_time() - started) / repeats)
        yield cut.name, *told


def load() -> str:
    """How many programs wanted a core in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def rows_of(url: str) -> Iterator[dict[str, object]]:
    """What is measured, one row each."""
    for kind, place in (("memory", None), ("PostgreSQL", url)):
        clock, worked = overhead(place)
        yield {"what": f"overhead of a trial in {kind}", "value": f"{clock:.2f}", "unit": "ms"}
        yield {"what": f"of this, processor time in {kind}", "value": f"{worked:.2f}", "unit": "ms"}
    for kind, said in (("wait", f"waits {WAITING:g} s"), ("busy", f"is busy for {BUSY:g} s")):
        turns = []
        for turn in range(TURNS):
            counts = (1, 2) if turn % 2 else (2, 1)  # whoever is first has no advantage
            found = {count: rate(url, kind, count) for count in counts}
            turns.append(found[2] / found[1])
            for count in (1, 2):
                what = f"{count} worker{'s' * (count - 1)}, a trial {said}"
                yield {"what": what, "value": f"{found[count]:.1f}", "unit": "trials/min", "load": load()}
        ratio = f"{statistics.median(turns):.2f}"
        yield {"what": f"two workers over one, a trial {said}", "value": ratio, "unit": "ratio", "load": load()}
    for cut, known, kept, whole in cached():
        for what, value in (("known by its digest", known), ("over the kept activation", kept), ("whole", whole)):
            yield {"what": f"evaluation at cut {cut}, {what}", "value": f"{value:.2f}", "unit": "ms"}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--storage")
    asked.add_argument("--join", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.join:
        worker(given.storage, given.join)
        return
    with nullcontext(given.storage) if given.storage else own_server() as url, (HERE / "workers.csv").open("w") as file:
        lines = csv.DictWriter(file, ["what", "value", "unit", "load"], lineterminator="\n")
        lines.writeheader()
        for row in rows_of(url):
            lines.writerow(row)
            print(*row.values(), flush=True)


@contextmanager
def own_server() -> Iterator[str]:
    """The URL of a PostgreSQL that is gone afterwards."""
    from tests.advisor.planning.shared_study.postgres import running

    with running() as server:
        yield server.url


if __name__ == "__main__":
    main()
