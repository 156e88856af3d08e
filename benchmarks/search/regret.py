"""Regret of the search over its cost, beside random, plain TPE, the exhaustive walk, and what people do today.

`python -m benchmarks.search.regret [digits|resnet20]` replays a table of ground truth. Every search prices so many rows
by the table's predictions; the plan that it would choose is attacked, and chosen again where the attack finds more, as
the product does. Whether the answer is feasible, and the best, is told by the attacks on every row of the table.

Regret = (found − best) / (median feasible − best) of the objective over the feasible plans of the table; 1 where the
answer is not feasible, or there is none. Cost is the processor's time of what was priced and attacked, as a share of
that of the whole table.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna

from advisor.defenses import NoDefense
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.searching.rounds import Search
from advisor.planning.selecting.selection import choose, meets, with_excess
from advisor.planning.verifying.verification import VERIFY_ATTEMPTS
from advisor.plans import Plan
from advisor.progress import silence
from advisor.request import Request
from advisor.requirement import Requirement
from advisor.requirements import Budgets, objective
from benchmarks.search import digits, resnet20
from benchmarks.search.ground_truth import OTHERS, Grid, Key, Table, read
from benchmarks.search.replay import Replay, ReplayedFits

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / "docs" / "images"
DIGITS = {
    "latency": ("latency", {"min_nmse": 0.25, "max_accuracy_drop": 0.03}),
    "bytes": ("bytes", {"min_nmse": 0.25, "max_accuracy_drop": 0.05}),
    "energy": ("edge_energy", {"min_nmse": 0.2, "max_accuracy_drop": 0.03}),
    "score": ("nmse", {"min_nmse": 0.05, "max_accuracy_drop": 0.03}),
    "edge MACs": ("edge_macs", {"min_nmse": 0.15, "max_accuracy_drop": 0.05}),
}
RESNET20 = {
    "latency": ("latency", {"min_nmse": 0.3, "max_accuracy_drop": 0.1}),
    "bytes": ("bytes", {"min_nmse": 0.2, "max_accuracy_drop": 0.1}),
    "energy": ("edge_energy", {"min_nmse": 0.25, "max_accuracy_drop": 0.1}),
    "score": ("nmse", {"min_nmse": 0.1, "max_accuracy_drop": 0.06}),
    "edge MACs": ("edge_macs", {"min_nmse": 0.15, "max_accuracy_drop": 0.1}),
}
SETTINGS = {"digits": DIGITS, "resnet20": RESNET20}
"""Table -> name -> objective and budgets; a split is required in all."""

SHARES = (0.05, 0.1, 0.2, 0.4)
"""Of the table's rows, that a search may price."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked: budgets, the limits among them, and the objective."""

    budgets: Budgets
    limits: LeakageLimits

    @property
    def row(self) -> Requirement:
        """The objective."""
        return self.limits.best_in

    def judged(self, plan: Plan) -> Plan:
        """A plan with how far it misses what is asked."""
        return with_excess(plan, self.budgets, self.limits)


Searcher = Callable[[Replay, Wanted, int, int], Sequence[Plan]]


def wanted(table: str, setting: str) -> Wanted:
    best_in, asked = SETTINGS[table][setting]
    budgets = Budgets(**asked)
    return Wanted(budgets, LeakageLimits(budgets.min_nmse, None, True, objective(best_in)))


def ours(replay: Replay, asked: Wanted, trials: int, seed: int) -> Sequence[Plan]:
    """The search of the product: payload defenses, then fits where the table has them."""
    grid = replay.grid
    search = Search(replay.model, asked.budgets, asked.limits, ("gaussian", *OTHERS), trials, seed=seed)
    found = search.run().plans
    if not grid.methods:
        return found
    request = Request.of(model="resnet20", requirements=asked.budgets.limits, seed=seed)
    training = grid.evaluator.roles["attacker"]  # nothing is fitted: only how many there are counts
    fits = ReplayedFits(replay.model, request, asked.limits, grid.methods, training, replay=replay)
    return [*found, *fits.run(silence).plans]


def at_random(replay: Replay, asked: Wanted, trials: int, seed: int) -> Sequence[Plan]:
    """Rows drawn without order."""
    rows = replay.keys
    random.Random(seed).shuffle(rows)
    return priced(replay, asked, rows[:trials])


def exhaustive(replay: Replay, asked: Wanted, trials: int, seed: int) -> Sequence[Plan]:
    """Rows from the first cut to the last, all of each."""
    order = [cut.name for cut in replay.model.candidates]
    return priced(replay, asked, sorted(replay.keys, key=lambda key: order.index(key[0]))[:trials])


def plain_tpe(replay: Replay, asked: Wanted, trials: int, seed: int) -> Sequence[Plan]:
    """Optuna's TPE over rows, one after the other, with what a plan misses as its penalty; no warm start."""
    rows = {cut.name: [key for key in replay.keys if key[0] == cut.name] for cut in replay.model.candidates}
    study, found = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed)), list[Plan]()
    for _ in range(trials):
        trial = study.ask()
        cut = trial.suggest_categorical("cut", list(rows))
        key = rows[cut][trial.suggest_int("row", 0, len(rows[cut]) - 1)]
        plan = priced(replay, asked, [key])[0]
        found.append(plan)
        missed = sum(1.0 if math.isnan(over) else over for over in plan.excess.values())
        study.tell(trial, 1e3 * missed if missed else cost(plan, asked.row))
    return found


SEARCHERS: dict[str, Searcher] = {
    "ours": ours, "random": at_random, "TPE": plain_tpe, "exhaustive": exhaustive,
}  # fmt: skip


def priced(replay: Replay, asked: Wanted, rows: Sequence[Key]) -> list[Plan]:
    return [asked.judged(replay.plan(key)) for key in rows]


def answer(replay: Replay, plans: Sequence[Plan], asked: Wanted) -> Plan | None:
    """The plan that is chosen in the end, as in `verifying/verification.py`: attacked, and another where that fails."""
    known = list(plans)
    for _ in range(VERIFY_ATTEMPTS):
        best = choose(known, asked.limits)
        if best is None or best.verified:
            break
        proven = asked.judged(replay.attacked(best))
        known = [proven if plan is best else plan for plan in known]
        stronger = proven.defense.strengthen() if asked.limits.shortfall(proven) else None
        if stronger is not None:
            known.append(asked.judged(replay.of(proven).evaluate(proven.cut, stronger)))
    return choose(known, asked.limits)


def cost(plan: Plan, row: Requirement) -> float:
    found = plan.found(row)
    assert found is not None
    return found.value if row.minimised else -found.value


def regret(found: Plan | None, truth: Sequence[Plan], row: Requirement) -> float:
    """Of an answer that is among the plans of the table: 0 is the table's best, 1 its median feasible one, or none."""
    feasible = sorted(cost(plan, row) for plan in truth if plan.feasible)
    if found is None or not found.feasible:
        return 1.0
    best, median, own = feasible[0], statistics.median(feasible), cost(found, row)
    if own <= best:
        return 0.0
    return 1.0 if median == best else min(1.0, (own - best) / (median - best))


def today(replay: Replay, truth: Sequence[Plan]) -> dict[str, Plan]:
    """What people do: a cut chosen by one rule, and nothing done to the activation."""
    bare = [plan for plan in truth if plan.defense == NoDefense() and plan.fitted is None]
    drop = replay.model.study.profile["rc2_drop"]
    falls = {plan.cut.name: drop.at(plan.cut).value for plan in bare}
    return {
        "latency alone": min(bare, key=lambda plan: plan.predicted["latency"].value),
        "largest drop of R_c²": max(
            bare, key=lambda p: -math.inf if math.isnan(falls[p.cut.name]) else falls[p.cut.name]
        ),
        "the deepest cut": max(bare, key=lambda plan: plan.cut.index),
        "the smallest payload": min(bare, key=lambda plan: plan.predicted["bytes"].value),
    }


def replayed(name: str, grid: Grid, table: Table, setting: str, seeds: int) -> list[dict[str, object]]:
    """Rows of one setting: every search at every share, then the rules of today."""
    asked, whole = wanted(name, setting), Replay(grid, table)
    by_row = {key: asked.judged(whole.attacked(whole.plan(key))) for key in whole.keys}
    truth, full = list(by_row.values()), whole.cost
    rows: list[dict[str, object]] = []
    for search, searcher in SEARCHERS.items():
        for share in SHARES:
            told = []
            for seed in range(seeds):
                replay = Replay(grid, table)
                plans = searcher(replay, asked, max(2, round(share * len(truth))), seed)
                found = answer(replay, plans, asked)
                true = None if found is None else by_row.get(replay.row(found))  # a short fit's is no plan of the table
                wrong = found is not None and true is not None and meets(found, asked.limits) and not true.feasible
                told.append((regret(true, truth, asked.row), replay.cost / full, float(wrong)))
            regrets, costs, wrongs = zip(*told, strict=True)
            rows.append(
                {
                    "setting": setting, "search": search, "rows": share, "cost": f"{statistics.mean(costs):.4f}",
                    "regret": f"{statistics.mean(regrets):.4f}", "worst": f"{max(regrets):.4f}",
                    "called feasible and is not": int(sum(wrongs)), "seeds": seeds,
                }
            )  # fmt: skip
    for rule, plan in today(whole, truth).items():
        own = f"{regret(plan, truth, asked.row):.4f}"
        rows.append(
            {
                "setting": setting, "search": rule, "rows": 0.0, "cost": "0.0000", "regret": own, "worst": own,
                "called feasible and is not": int(not plan.feasible), "seeds": 1,
            }
        )  # fmt: skip
    feasible = sum(plan.feasible for plan in truth)
    print(f"{setting}: {feasible} of {len(truth)} plans are feasible", flush=True)
    return rows


def drawn(rows: Sequence[dict[str, object]], file: Path) -> None:
    """Mean regret over the settings, over the share of rows that were priced."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for name in SEARCHERS:
        told = [
            np.mean([float(str(row["regret"])) for row in rows if row["search"] == name and row["rows"] == share])
            for share in SHARES
        ]
        axes.plot(SHARES, told, marker="o", label=name)
    axes.axhline(0.05, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", xlabel="share of the table's rows that was priced", ylabel="regret, mean of five settings")
    axes.set_xticks(SHARES, [f"{share:.0%}" for share in SHARES])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(file, dpi=130)


def grid_of(name: str, fits: Path) -> tuple[Grid, Table]:
    """A grid with the methods that were measured to the end, and its rows."""
    grid: Grid = digits.DigitsGrid() if name == "digits" else resnet20.ResNet20Grid(fits)
    table = read(HERE / f"{name}.csv")
    grid.methods = tuple(method for method in grid.methods if all(key in table for key in grid.keys_of(method)))
    return grid, {key: table[key] for key in grid.keys}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("name", choices=list(SETTINGS), nargs="?", default="digits")
    asked.add_argument("--fits", type=Path, default=Path("resnet20-fits"), help="where fits of ResNet-20 are kept")
    asked.add_argument("--seeds", type=int, default=10)
    given = asked.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    grid, table = grid_of(given.name, given.fits)
    rows = [row for setting in SETTINGS[given.name] for row in replayed(given.name, grid, table, setting, given.seeds)]
    with (HERE / f"{given.name}_regret.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        lines.writeheader()
        lines.writerows(rows)
    drawn(rows, PICTURES / f"search-regret-{given.name}.png")
    for row in rows:
        print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
