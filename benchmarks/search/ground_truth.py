"""A table of ground truth: every plan of a grid, priced as the product does and then attacked.

Rows are kept as they end, and a run that was stopped goes on after the last of them.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from advisor.cuts import Cut
from advisor.defenses import DEFENSES, Defense, GaussianNoise
from advisor.estimate import Estimate
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.fits.variant_pricing import VariantEvaluator
from advisor.planning.verifying.faced import faced

OTHERS = ("none", "int8", "fp16")
"""Payload defenses without a level."""
PREDICTED = ("score", "score_ssim", "accuracy", "accuracy_drop")
ATTACKED = ("nmse", "ssim")
KEPT = (*PREDICTED, *ATTACKED)
ENDS = ("value", "low", "high")
SECONDS = ("fitted_s", "priced_s", "attacked_s")
FIELDS = ("cut", "defense", "sigma", *SECONDS, *(f"{name}_{end}" for name in KEPT for end in ENDS))

SHORT = " (short)"

Key = tuple[str, str, float]
"""Cut, defense and level: what tells rows apart."""


@dataclass(frozen=True)
class Row:
    """What is known of a plan, and the processor's seconds of that.

    Attributes:
        found: what was predicted, and what attacks reached.
        priced, attacked: seconds of each.
        fitted: seconds of the fit that it rests on, which all levels of a defense at a cut share.
    """

    found: dict[str, Estimate]
    priced: float
    attacked: float
    fitted: float = 0.0

    @property
    def predicted(self) -> dict[str, Estimate]:
        """Leakage and accuracy."""
        return {name: self.found[name] for name in PREDICTED}

    @property
    def verified(self) -> dict[str, Estimate]:
        """What the worst of the quick attacks and the floor leave."""
        return {name: self.found[name] for name in ATTACKED}


Table = dict[Key, Row]


class Grid:
    """The plans of a table.

    Attributes:
        evaluator: prices plans of the undefended model.
        levels: of Gaussian noise at each cut.
        methods: that are fitted.
    """

    evaluator: PlanEvaluator
    levels: int
    methods: tuple[str, ...] = ()

    @cached_property
    def plans(self) -> dict[Key, tuple[Cut, Defense]]:
        """Every cut with every defense that needs no fit, by key."""
        others = [DEFENSES.find(name)() for name in OTHERS]
        cuts = self.evaluator.candidates
        return {key_of(cut, d): (cut, d) for cut in cuts for d in (*self._noises(cut), *others)}

    def _noises(self, cut: Cut) -> Iterator[Defense]:
        """Levels evenly spread on a logarithmic scale: from one that changes nothing to one that leaves nothing."""
        curve = self.evaluator.curve(cut)
        scale = 1.0 if curve is None else curve.scale
        yield from (GaussianNoise(float(s)) for s in scale * np.logspace(-1.5, 1.0, 2 * self.levels)[1::2])

    @cached_property
    def outlines(self) -> dict[tuple[str, str], VariantEvaluator]:
        """What prices each fit but for its training: by cut and defense, none where nothing is fitted."""
        return {}

    @property
    def keys(self) -> list[Key]:
        """Of all rows, in the order in which they are measured."""
        return [*self.plans, *(key for method in self.methods for key in self.keys_of(method))]

    def keys_of(self, method: str) -> list[Key]:
        """Of the rows of what is fitted."""
        raise NotImplementedError

    def row(self, key: Key) -> Row:
        """One plan, measured."""
        return priced_and_attacked(self.evaluator, *self.plans[key])


def short_of(method: str) -> str:
    """How the table names a method that is fitted briefly: the search ranks cuts and methods by such fits."""
    return f"{method.removesuffix(SHORT)}{SHORT}"


def key_of(cut: Cut, defense: Defense) -> Key:
    """Of a payload defense."""
    return cut.name, defense.name, float(f"{defense.noise:.6g}")


def priced_and_attacked(evaluator: PlanEvaluator, cut: Cut, defense: Defense, fitted: float = 0.0) -> Row:
    """A plan priced, then attacked by all that it must face; the least error that one reaches counts."""
    started = time.process_time()
    plan = evaluator.plan(cut, defense, evaluator.effects(cut, defense))
    priced = time.process_time() - started
    attacks = [evaluator.attack(plan, "quick", name=name) for name in faced(plan, evaluator.secret)]
    worst = min(attacks, key=lambda found: found.nmse.value)
    found = {**plan.predicted, "nmse": worst.reported, "ssim": worst.ssim}
    attacked = time.process_time() - started - priced
    return Row({name: found[name] for name in KEPT}, priced, attacked, fitted)


def measured(grid: Grid, file: Path, minutes: float = math.inf) -> Table:
    """The table: rows that are in the file are taken from it, others are measured and written as they end.

    Args:
        grid: the plans.
        file: of the rows.
        minutes: after which no further row is begun; then those that are there make the table.
    """
    started, keys, known = time.monotonic(), grid.keys, read(file)
    missing = [key for key in keys if key not in known]
    for number, key in enumerate(missing, start=1):
        if time.monotonic() - started > 60 * minutes:
            break
        known[key] = grid.row(key)
        write(file, key, known[key])
        hours = (time.monotonic() - started) / number * (len(missing) - number) / 3600
        print(f"{number} of {len(missing)}: {key}; about {hours:.2f} h to go", flush=True)
    return {key: known[key] for key in keys if key in known}


def read(file: Path) -> Table:
    """The rows of a file, none where it is not there; a last line that was cut short is left out."""
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if None not in row.values()]
    return {(row["cut"], row["defense"], float(row["sigma"])): _row(row) for row in rows}


def _row(row: dict[str, str]) -> Row:
    fitted, priced, attacked = (float(row[name]) for name in SECONDS)
    return Row({name: _estimate(row, name) for name in KEPT}, priced, attacked, fitted)


def _estimate(row: dict[str, str], name: str) -> Estimate:
    value, low, high = (float(row[f"{name}_{end}"]) for end in ENDS)
    return Estimate(value, math.nan, low, high)


def write(file: Path, key: Key, row: Row) -> None:
    """Add a row."""
    new = not file.exists()
    told = dict(zip(("cut", "defense", "sigma"), map(str, key), strict=True))
    told |= {name: f"{getattr(row, name.removesuffix('_s')):.3f}" for name in SECONDS}
    told |= {f"{name}_{end}": f"{getattr(row.found[name], end):.6g}" for name in KEPT for end in ENDS}
    with file.open("a", newline="", encoding="utf-8") as lines:
        rows = csv.DictWriter(lines, FIELDS, lineterminator="\n")
        if new:
            rows.writeheader()
        rows.writerow(told)
