"""Attack every net, level by level, each row kept as it ends; a second start goes on where the first was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

import advisor
from advisor.estimators.inversion.training import Budget
from benchmarks.headline.cases import CASES, accuracy, trained
from benchmarks.headline.estimates import Estimated, estimated
from benchmarks.headline.rows import append, read
from benchmarks.headline.truth import NOISES, REDUCED, Attacked, attacks

Say = Callable[[str], None]

TRUTH, ESTIMATES = "truth.csv", "estimates.csv"


def attack_all(
    names: Sequence[str], cache: Path, budget: Budget = REDUCED, limit: float = 1200, noises: Sequence[float] = NOISES,
    say: Say = print,
) -> None:  # fmt: skip
    """Bare cuts of every net first, then noise.

    Args:
        names: of cases.
        cache: folder of trained networks and `truth.csv`.
        budget: of the attacks.
        limit: seconds spent on one net at most, of this call.
        noises: levels, in order of work.
        say: told of each row.
    """
    torch.set_num_threads(1)
    spent = dict.fromkeys(names, 0.0)
    for noise in noises:
        for name in names:
            case, started = CASES[name], time.perf_counter()
            model, data = trained(case, cache), case.data()
            graph = advisor.trace(model, data.unseen[0][:2])
            if noise == noises[0]:
                say(f"{name}: {accuracy(model, data):.1%} of unseen samples right, {len(graph.cuts)} cuts")
            done = {(row.cut, row.noise) for row in read(cache / TRUTH, Attacked) if row.net == name}
            for row in attacks(case, graph, data, budget, [noise], done):
                append(cache / TRUTH, [row])
                say(f"{name} {row.cut} noise {row.noise}: NMSE {row.nmse:.3f} ± {row.stderr:.3f}, {row.seconds:.0f} s")
                if spent[name] + time.perf_counter() - started > limit:
                    say(f"{name}: {limit:.0f} s are spent; start again to go on")
                    break
            spent[name] += time.perf_counter() - started


def estimate_all(names: Sequence[str], cache: Path, noises: Sequence[float] = NOISES, say: Say = print) -> None:
    """Every estimator at the cuts that are not yet kept; one cut's rows are kept together."""
    torch.set_num_threads(1)
    for name in names:
        case = CASES[name]
        model, data = trained(case, cache), case.data()
        graph = advisor.trace(model, data.unseen[0][:2])
        done = {(row.cut, row.estimator) for row in read(cache / ESTIMATES, Estimated) if row.net == name}
        for rows in estimated(case, graph, data, noises, done):
            append(cache / ESTIMATES, rows)
            say(f"{name} {rows[0].cut}: {sum(row.seconds for row in rows):.1f} s of estimators")
