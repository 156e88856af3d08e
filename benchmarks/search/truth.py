"""A table of ground truth: every cut of a small CNN × levels of noise and rounding, each priced once; rows are kept."""

from __future__ import annotations

import csv
import dataclasses
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import advisor
from advisor import profilers
from advisor.cuts import Cut
from advisor.data.roles import Roles
from advisor.data.samples import Samples
from advisor.defenses import DEFENSES, Defense, GaussianNoise
from advisor.estimate import Estimate
from advisor.estimators.study.leakage_study import study
from advisor.planning.estimates_as_json import as_json
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.shared_study.results import Task, digest_of

LEVELS = 12
"""Of noise at each cut, from one that changes nothing to one that leaves nothing."""

OTHERS = ("int8", "fp16")
KEPT = ("score", "score_ssim", "accuracy", "accuracy_drop")
FIELDS = ("cut", "defense", "sigma", "seconds", *(f"{name}_{end}" for name in KEPT for end in ("value", "low", "high")))


def network(seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small CNN trained on digits, and the digits, shuffled."""
    data = load_digits()
    torch.manual_seed(seed)
    order = torch.randperm(len(data.images))
    x = torch.tensor(data.images, dtype=torch.float32)[order, None] / 16
    y = torch.tensor(data.target)[order]
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 16, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(10):
        for batch in torch.randperm(900).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval(), x[900:], y[900:]


def evaluator() -> PlanEvaluator:
    """Prices plans of that network: 300 samples for validation, 400 of the attacker, 197 private ones."""
    net, x, y = network()
    graph = advisor.trace(net, x[:2])
    parts = {"validation": slice(0, 300), "attacker": slice(300, 700), "private": slice(700, 897)}
    roles = Roles({name: Samples(x[s], y[s], "digits", name) for name, s in parts.items()})
    private, own = roles["private"], roles["attacker"]
    found = study(graph, private.x, private.y, own.x, own.y)
    cost = advisor.profile(graph, "raspberry-pi-4b", "4g")
    return PlanEvaluator(
        graph, cost.joined(found.profile), found, roles, profilers.device("raspberry-pi-4b"), profilers.link("4g"), 0
    )


def levels(pricer: PlanEvaluator, cut: Cut) -> list[float]:
    """Levels of noise at a cut, within what may be searched, evenly spread on a logarithmic scale."""
    curve = pricer.curve(cut)
    scale = 1.0 if curve is None else curve.scale
    return [float(s) for s in scale * np.logspace(-1.5, 1.0, LEVELS)]


def grid(pricer: PlanEvaluator) -> list[tuple[Cut, Defense]]:
    """Every plan of the table."""
    return [
        (cut, defense)
        for cut in pricer.candidates
        for defense in (
            *(GaussianNoise(sigma) for sigma in levels(pricer, cut)),
            *(DEFENSES.find(name)() for name in OTHERS),
        )
    ]


def measured(pricer: PlanEvaluator, file: Path) -> dict[tuple[str, str, float], dict[str, Estimate]]:
    """The table: rows that are in the file are taken from it, others are measured and written as they end."""
    known = read(file)
    wanted = grid(pricer)
    for number, (cut, defense) in enumerate(wanted):
        if key(cut, defense) in known:
            continue
        started = time.perf_counter()
        found = pricer.effects(cut, defense)
        known[key(cut, defense)] = found
        write(file, cut, defense, time.perf_counter() - started, found)
        print(f"{number + 1} of {len(wanted)}: {cut.name} + {defense}", flush=True)
    return {key(cut, defense): known[key(cut, defense)] for cut, defense in wanted}


def key(cut: Cut, defense: Defense) -> tuple[str, str, float]:
    """What tells a row from others."""
    return cut.name, defense.name, float(f"{defense.noise:.6g}")


def read(file: Path) -> dict[tuple[str, str, float], dict[str, Estimate]]:
    """The rows of a file, none where it is not there; a last line that was cut short is left out."""
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if None not in row.values()]
    return {
        (row["cut"], row["defense"], float(row["sigma"])): {
            name: Estimate(float(row[f"{name}_value"]), math.nan, float(row[f"{name}_low"]), float(row[f"{name}_high"]))
            for name in KEPT
        }
        for row in rows
    }


def write(file: Path, cut: Cut, defense: Defense, seconds: float, found: dict[str, Estimate]) -> None:
    """Add a row."""
    new = not file.exists()
    ends = {f"{n}_{e}": f"{getattr(found[n], e):.6g}" for n in KEPT for e in ("value", "low", "high")}
    with file.open("a", newline="", encoding="utf-8") as lines:
        rows = csv.DictWriter(lines, FIELDS, lineterminator="\n")
        if new:
            rows.writeheader()
        named = {"cut": cut.name, "defense": defense.name, "sigma": f"{defense.noise:.6g}"}
        rows.writerow(named | {"seconds": f"{seconds:.3f}"} | ends)


@dataclass(frozen=True, eq=False)
class Replay(PlanEvaluator):
    """Prices plans from the table: noise counts as the nearest level. Made by `replay_of`.

    Attributes:
        table: of `measured`.
        steps: levels of noise by cut.
        asked: which rows were asked for, in order.
    """

    table: dict[tuple[str, str, float], dict[str, Estimate]] = field(default_factory=dict)
    steps: dict[str, list[float]] = field(default_factory=dict)
    asked: list[tuple[str, str, float]] = field(default_factory=list)

    def snapped(self, cut: Cut, defense: Defense) -> Defense:
        """The plan of the table that a defense counts as."""
        if not defense.noise:
            return defense
        return GaussianNoise(min(self.steps[cut.name], key=lambda sigma: abs(math.log(sigma / defense.noise))))

    def task(self, cut: Cut, defense: Defense) -> Task:
        """One row."""
        row = key(cut, self.snapped(cut, defense))

        def compute() -> dict[str, object]:
            self.asked.append(row)
            return as_json(self.table[row])

        return Task("evaluation", digest_of(row), compute)


def replay_of(pricer: PlanEvaluator, table: dict[tuple[str, str, float], dict[str, Estimate]]) -> Replay:
    """A replay in which nothing was asked yet."""
    told = {f.name: getattr(pricer, f.name) for f in dataclasses.fields(PlanEvaluator) if f.name != "results"}
    return Replay(**told, table=table, steps={cut.name: levels(pricer, cut) for cut in pricer.candidates})
