"""A table of ground truth: every block of a small CNN × levels of noise and rounding, priced and then attacked.

Rows are kept as they end, and a run that was stopped goes on after the last of them.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import time
from collections import OrderedDict
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
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.shared_study.estimates_as_json import as_json
from advisor.planning.shared_study.results import Task, digest_of
from advisor.planning.verifying.faced import faced
from advisor.plans import Plan

LEVELS = 8
"""Of noise at each cut, from one that changes nothing to one that leaves nothing."""

OTHERS = ("none", "int8", "fp16")
DEVICE, LINK = "jetson-nano", "3g-jointdnn"
PREDICTED = ("score", "score_ssim", "accuracy", "accuracy_drop")
ATTACKED = ("nmse", "ssim")
KEPT = (*PREDICTED, *ATTACKED)
ENDS = ("value", "low", "high")
FIELDS = ("cut", "defense", "sigma", "priced_s", "attacked_s", *(f"{name}_{end}" for name in KEPT for end in ENDS))

Key = tuple[str, str, float]


@dataclass(frozen=True)
class Row:
    """What is known of a plan: what was predicted and what attacks reached, and the processor's seconds of each."""

    found: dict[str, Estimate]
    priced: float
    attacked: float

    @property
    def predicted(self) -> dict[str, Estimate]:
        """Leakage and accuracy."""
        return {name: self.found[name] for name in PREDICTED}

    @property
    def verified(self) -> dict[str, Estimate]:
        """What the worst of the quick attacks and the floor leave."""
        return {name: self.found[name] for name in ATTACKED}


Table = dict[Key, Row]


def digits(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images `[1797, 1, 8, 8]` in [0, 1] and their classes, shuffled."""
    data = load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))
    x = torch.tensor(data.images, dtype=torch.float32)[order, None] / 16
    return x, torch.tensor(data.target)[order]


def trained(net: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Module:
    """The network after so many epochs, in evaluation mode."""
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


def network(seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small CNN of six blocks trained on 900 digits, and the others."""
    torch.manual_seed(seed)
    x, y = digits(seed)
    blocks = OrderedDict(
        stem=block(1, 12), stage1=block(12, 24, 2), stage2=block(24, 24), stage3=block(24, 32, 2), stage4=block(32, 32),
        hidden=nn.Sequential(nn.Flatten(), nn.Linear(32 * 4, 32), nn.ReLU()), classes=nn.Linear(32, 10),
    )  # fmt: skip
    return trained(nn.Sequential(blocks), x[:900], y[:900], epochs=10), x[900:], y[900:]


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


def evaluator() -> PlanEvaluator:
    """Prices plans of that network: 300 samples for validation, 400 of the attacker, 197 private ones."""
    net, x, y = network()
    graph = advisor.trace(net, x[:2], granularity="block")
    parts = {"validation": slice(0, 300), "attacker": slice(300, 700), "private": slice(700, 897)}
    roles = Roles({name: Samples(x[s], y[s], "digits", name) for name, s in parts.items()})
    private, own = roles["private"], roles["attacker"]
    found = study(graph, private.x, private.y, own.x, own.y)
    device, link = profilers.device(DEVICE), profilers.link(LINK)
    cost = advisor.profile(graph, device, link)
    return PlanEvaluator(graph, cost.joined(found.profile), found, roles, device, link, 0)


def levels(pricer: PlanEvaluator, cut: Cut) -> list[float]:
    """Levels of noise at a cut, evenly spread on a logarithmic scale, in units of the activation's own."""
    curve = pricer.curve(cut)
    scale = 1.0 if curve is None else curve.scale
    return [float(s) for s in scale * np.logspace(-1.5, 1.0, 2 * LEVELS)[1::2]]


def grid(pricer: PlanEvaluator) -> list[tuple[Cut, Defense]]:
    """Every plan of the table."""
    others = [DEFENSES.find(name)() for name in OTHERS]
    return [
        (cut, defense)
        for cut in pricer.candidates
        for defense in (*(GaussianNoise(sigma) for sigma in levels(pricer, cut)), *others)
    ]


def measured(pricer: PlanEvaluator, file: Path) -> Table:
    """The table: rows that are in the file are taken from it, others are measured and written as they end."""
    wanted, known = grid(pricer), read(file)
    missing = [(cut, defense) for cut, defense in wanted if key(cut, defense) not in known]
    for number, (cut, defense) in enumerate(missing, start=1):
        row = row_of(pricer, cut, defense)
        known[key(cut, defense)] = row
        write(file, cut, defense, row)
        spent = mean_seconds([known[key(c, d)] for c, d in missing[:number]])
        hours = (len(missing) - number) * spent / 3600
        print(f"{number} of {len(missing)}: {cut.name} + {defense}; about {hours:.2f} h of one core to go", flush=True)
    return {key(cut, defense): known[key(cut, defense)] for cut, defense in wanted}


def mean_seconds(rows: list[Row]) -> float:
    """Mean seconds of a row."""
    return sum(row.priced + row.attacked for row in rows) / len(rows)


def row_of(pricer: PlanEvaluator, cut: Cut, defense: Defense) -> Row:
    """A plan priced, then attacked by all that its defense must face; the least error that one reaches counts."""
    started = time.process_time()
    plan = pricer.plan(cut, defense, pricer.effects(cut, defense))
    priced = time.process_time() - started
    attacks = [pricer.attack(plan, "quick", name=name) for name in faced(plan, pricer.secret)]
    worst = min(attacks, key=lambda found: found.nmse.value)
    found = {**plan.predicted, "nmse": worst.reported, "ssim": worst.ssim}
    return Row({name: found[name] for name in KEPT}, priced, time.process_time() - started - priced)


def key(cut: Cut, defense: Defense) -> Key:
    """What tells a row from others."""
    return cut.name, defense.name, float(f"{defense.noise:.6g}")


def read(file: Path) -> Table:
    """The rows of a file, none where it is not there; a last line that was cut short is left out."""
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if None not in row.values()]
    return {
        (row["cut"], row["defense"], float(row["sigma"])): Row(
            {name: _estimate(row, name) for name in KEPT}, float(row["priced_s"]), float(row["attacked_s"])
        )
        for row in rows
    }


def _estimate(row: dict[str, str], name: str) -> Estimate:
    value, low, high = (float(row[f"{name}_{end}"]) for end in ENDS)
    return Estimate(value, math.nan, low, high)


def write(file: Path, cut: Cut, defense: Defense, row: Row) -> None:
    """Add a row."""
    new = not file.exists()
    told = {"cut": cut.name, "defense": defense.name, "sigma": f"{defense.noise:.6g}"}
    told |= {"priced_s": f"{row.priced:.3f}", "attacked_s": f"{row.attacked:.3f}"}
    told |= {f"{name}_{end}": f"{getattr(row.found[name], end):.6g}" for name in KEPT for end in ENDS}
    with file.open("a", newline="", encoding="utf-8") as lines:
        rows = csv.DictWriter(lines, FIELDS, lineterminator="\n")
        if new:
            rows.writeheader()
        rows.writerow(told)


@dataclass(frozen=True, eq=False)
class Replay(PlanEvaluator):
    """Prices plans from the table: noise counts as the nearest level. Made by `replay_of`.

    Attributes:
        table: of `measured`.
        defenses: of the table, by cut.
        asked: which rows were asked for, in order.
        attacked: which rows were attacked, in order.
    """

    table: Table = field(default_factory=dict)
    defenses: dict[str, list[Defense]] = field(default_factory=dict)
    asked: list[Key] = field(default_factory=list)
    attacked: list[Key] = field(default_factory=list)

    def row(self, cut: Cut, defense: Defense) -> Key:
        """The row of the table that a defense counts as."""
        if not defense.noise:
            return key(cut, defense)
        noises = [known for known in self.defenses[cut.name] if known.noise]
        return key(cut, min(noises, key=lambda known: abs(math.log(known.noise / defense.noise))))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The table has the accuracy of all samples."""
        return (len(self.rows),)

    def effects(self, cut: Cut, defense: Defense, rows: int | None = None) -> dict[str, Estimate]:
        """What the table has."""
        self.asked.append(self.row(cut, defense))
        return self.table[self.asked[-1]].predicted

    def task(self, cut: Cut, defense: Defense) -> Task:
        """One row."""
        return Task("evaluation", digest_of(self.row(cut, defense)), lambda: as_json(self.effects(cut, defense)))

    def attacked_plan(self, plan: Plan) -> Plan:
        """The plan of its row with what attacks left of it."""
        row = self.row(plan.cut, plan.defense)
        self.attacked.append(row)
        counted = next(d for d in self.defenses[plan.cut.name] if key(plan.cut, d) == row)
        return dataclasses.replace(plan, defense=counted, verified=self.table[row].verified)

    @property
    def cost(self) -> float:
        """Processor's seconds of what was asked for, each row once."""
        priced, attacked = (sum(getattr(self.table[row], name) for row in set(rows)) for name, rows in
                            (("priced", self.asked), ("attacked", self.attacked)))  # fmt: skip
        return priced + attacked


def replay_of(pricer: PlanEvaluator, table: Table) -> Replay:
    """A replay in which nothing was asked yet."""
    told = {f.name: getattr(pricer, f.name) for f in dataclasses.fields(PlanEvaluator) if f.name != "results"}
    defenses = {cut.name: [d for c, d in grid(pricer) if c is cut] for cut in pricer.candidates}
    return Replay(**told, table=table, defenses=defenses)


if __name__ == "__main__":
    torch.set_num_threads(1)
    measured(evaluator(), Path(__file__).parent / "truth.csv")
