"""Trials a minute of one and of two workers on one storage, and what a cached evaluation and a storage cost.

`python -m benchmarks.search.workers --storage postgresql://user@host/name` (a database of its own: studies are left in
it). Each trial keeps one core busy for half a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import uuid

from advisor.defenses import GaussianNoise
from advisor.planning.shared_study.results import Results, Task, digest_of
from advisor.planning.shared_study.study_storage import open_storage

TASKS, SECONDS = 40, 0.5


def work(seconds: float) -> dict[str, float]:
    """A trial that keeps one core busy for so long."""
    import torch

    started, total = time.process_time(), 0.0
    while time.process_time() - started < seconds:
        total += float(torch.randn(64, 64).sum())
    return {"value": total}


def tasks(study: str, count: int, seconds: float) -> list[Task]:
    return [Task("bench", digest_of(study, number), lambda: work(seconds)) for number in range(count)]


def worker(url: str, study: str) -> None:
    """Take part; say how many were computed here, and when it began and ended."""
    import torch

    torch.set_num_threads(1)
    results = Results(open_storage(url))
    started = time.time()
    results.all(tasks(study, TASKS, SECONDS))
    print(results.computed.total(), started, time.time())


def rate(url: str, count: int) -> float:
    """Trials a minute of so many workers, from the first one's start to the last one's end."""
    study = uuid.uuid4().hex
    words = [sys.executable, "-m", "benchmarks.search.workers", "--storage", url, "--join", study]
    runs = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    told = [run.communicate()[0].split() for run in runs]
    assert sum(int(done) for done, _, _ in told) == TASKS, "a trial was computed twice"
    seconds = max(float(end) for _, _, end in told) - min(float(start) for _, start, _ in told)
    return 60 * TASKS / seconds


def overhead(url: str | None, count: int = 30) -> float:
    """Milliseconds of a trial that computes nothing."""
    results, study = Results(open_storage(url)), uuid.uuid4().hex
    started = time.perf_counter()
    results.all(tasks(study, count, 0.0))
    return 1e3 * (time.perf_counter() - started) / count


def cached(repeats: int = 5) -> tuple[float, float]:
    """Seconds of an evaluation over kept activations, and of running the whole model for it."""
    from advisor.payload import Payload
    from benchmarks.search.truth import evaluator

    pricer = evaluator()
    cut = pricer.candidates[len(pricer.candidates) // 2]
    pricer.accuracy(cut, GaussianNoise(1.0))  # keeps the activation
    started = time.perf_counter()
    for number in range(repeats):
        pricer.accuracy(cut, GaussianNoise(1.0 + number))
    kept = (time.perf_counter() - started) / repeats
    started = time.perf_counter()
    for number in range(repeats):
        payload = Payload.of(pricer.graph, cut, GaussianNoise(1.0 + number))
        pricer.undefended.of(payload.scores_of(pricer.evaluation, 0, len(pricer.rows)))
    return kept, (time.perf_counter() - started) / repeats


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--storage", required=True)
    asked.add_argument("--join", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.join:
        worker(given.storage, given.join)
        return
    print(f"overhead of a trial: {overhead(None):.2f} ms in memory, {overhead(given.storage):.1f} ms on the storage")
    one, two = rate(given.storage, 1), rate(given.storage, 2)
    print(f"trials a minute: {one:.0f} of one worker, {two:.0f} of two: {two / one:.2f} ×")
    kept, whole = cached()
    print(f"an evaluation: {1e3 * kept:.1f} ms over kept activations, {1e3 * whole:.1f} ms through the whole model")


if __name__ == "__main__":
    main()
