"""Regret of the search over its cost, beside random, plain TPE and the exhaustive walk.

`python -m benchmarks.search.regret`

Regret = (found − best) / (median feasible − best) of the objective, over the plans of the table that are feasible; 1
where no feasible plan was found. Cost is the share of the table's rows that were priced.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from advisor.cuts import Cut
from advisor.defenses import Defense
from advisor.planning.selection import LeakageLimits, with_excess
from advisor.planning.shared_study.rounds import Search
from advisor.plans import Plan
from advisor.requirements import Budgets, Requirement, objective
from benchmarks.search.truth import Replay, evaluator, grid, measured, replay_of

HERE = Path(__file__).parent
SETTINGS = {
    "latency": ("latency", {"min_nmse": 0.25, "max_accuracy_drop": 0.03}),
    "bytes": ("bytes", {"min_nmse": 0.25, "max_accuracy_drop": 0.05}),
    "energy": ("edge_energy", {"min_nmse": 0.2, "max_accuracy_drop": 0.03}),
    "score": ("nmse", {"max_accuracy_drop": 0.03}),
    "edge MACs": ("edge_macs", {"min_nmse": 0.15, "max_accuracy_drop": 0.05}),
}
"""Name -> objective and budgets; a split is required in all."""

SHARES = (0.05, 0.1, 0.2, 0.4, 1.0)
Searcher = Callable[[Replay, Budgets, LeakageLimits, int, int], Sequence[Plan]]


def ours(pricer: Replay, budgets: Budgets, limits: LeakageLimits, trials: int, seed: int) -> Sequence[Plan]:
    """The search of the product."""
    names = ("none", "gaussian", "int8", "fp16")
    return Search(pricer, budgets, limits, names, trials, seed=seed).run().plans


def at_random(pricer: Replay, budgets: Budgets, limits: LeakageLimits, trials: int, seed: int) -> Sequence[Plan]:
    """Rows drawn without order."""
    rows = grid(pricer)
    random.Random(seed).shuffle(rows)
    return priced(pricer, budgets, limits, rows[:trials])


def exhaustive(pricer: Replay, budgets: Budgets, limits: LeakageLimits, trials: int, seed: int) -> Sequence[Plan]:
    """Rows from the first cut to the last, all levels of each."""
    return priced(pricer, budgets, limits, grid(pricer)[:trials])


def plain_tpe(pricer: Replay, budgets: Budgets, limits: LeakageLimits, trials: int, seed: int) -> Sequence[Plan]:
    """Optuna's TPE over rows, one after the other, with what a plan misses as its penalty; no warm start."""
    cuts = {cut.name: cut for cut in pricer.candidates}
    rows = {cut: [defense for c, defense in grid(pricer) if c.name == cut] for cut in cuts}
    study, found = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed)), list[Plan]()
    for _ in range(trials):
        trial = study.ask()
        cut = trial.suggest_categorical("cut", list(cuts))
        defense = rows[cut][trial.suggest_int("row", 0, len(rows[cut]) - 1)]
        plan = priced(pricer, budgets, limits, [(cuts[cut], defense)])[0]
        found.append(plan)
        missed = sum(1.0 if math.isnan(over) else over for over in plan.excess.values())
        study.tell(trial, 1e3 * missed if missed else cost(plan, limits.best_in))
    return found


def priced(pricer: Replay, budgets: Budgets, limits: LeakageLimits, rows: Sequence[tuple[Cut, Defense]]) -> list[Plan]:
    return [with_excess(pricer.evaluate(cut, defense), budgets, limits) for cut, defense in rows]


SEARCHERS: dict[str, Searcher] = {
    "ours": ours, "random": at_random, "TPE": plain_tpe, "exhaustive": exhaustive,
}  # fmt: skip


def cost(plan: Plan, row: Requirement) -> float:
    found = plan.found(row)
    assert found is not None
    return found.value if row.minimised else -found.value


def regret(plans: Sequence[Plan], every: Sequence[Plan], row: Requirement) -> float:
    """Of the best feasible plan that was found: 0 is the table's best, 1 its median feasible one, or none."""
    feasible = sorted(cost(plan, row) for plan in every if plan.feasible)
    found = min((cost(plan, row) for plan in plans if plan.feasible), default=math.nan)
    best, median = feasible[0], statistics.median(feasible)
    if math.isnan(found):
        return 1.0
    if found <= best:
        return 0.0
    return 1.0 if median == best else min(1.0, (found - best) / (median - best))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--table", type=Path, default=HERE / "truth.csv")
    asked.add_argument("--out", type=Path, default=HERE / "regret.csv")
    asked.add_argument("--seeds", type=int, default=10)
    given = asked.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pricer = evaluator()
    table = measured(pricer, given.table)
    rows = []
    for setting, (best_in, wanted) in SETTINGS.items():
        budgets, row = Budgets(**wanted), objective(best_in)
        limits = LeakageLimits(budgets.min_nmse, None, True, row)
        every = priced(replay_of(pricer, table), budgets, limits, grid(pricer))
        for name, searcher in SEARCHERS.items():
            for share in SHARES:
                told = []
                for seed in range(given.seeds):
                    replay = replay_of(pricer, table)
                    plans = searcher(replay, budgets, limits, max(2, round(share * len(table))), seed)
                    defended = [plan for plan in plans if not plan.defense.identity]
                    told.append((regret(defended, every, row), len(set(replay.asked)) / len(table)))
                rows.append(
                    {
                        "setting": setting, "search": name, "share": share, "seeds": given.seeds,
                        "cost": f"{statistics.mean(c for _, c in told):.3f}",
                        "regret": f"{statistics.mean(r for r, _ in told):.4f}",
                        "worst": f"{max(r for r, _ in told):.4f}",
                    }
                )  # fmt: skip
                print(rows[-1], flush=True)
    with given.out.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        lines.writeheader()
        lines.writerows(rows)


if __name__ == "__main__":
    main()
