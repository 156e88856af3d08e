"""How many samples an attacker must have: the quick attack on a plan with more and more of them, carried on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from advisor.errors import AdvisorError
from advisor.estimators.statistics.learning_curves import LearningCurve, Point, steps_up_to
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.plans import Plan
from advisor.progress import Progress, part

ATTACK = "ka"
FEWEST = 16
"""Samples of the smallest attack: an inversion network needs eight, and some to stop by."""

DRAWN = 25
"""Points of the curve that reports draw."""


def samples_needed(evaluator: PlanEvaluator, plan: Plan, wanted: int, progress: Progress) -> dict[str, Any]:
    """What an attacker of so many samples is left with on a plan, as an advice records it.

    Args:
        evaluator: of the plan's graph.
        plan: what is attacked, its defense included.
        wanted: samples that the attacker has; where there are as many, they are taken, and nothing is carried on.
        progress: called with the fraction done.

    Raises:
        AdvisorError: where an attack failed, or there are too few samples for a curve.
    """
    counts = steps_up_to(min(wanted, evaluator.attackers_own), FEWEST)
    if len(counts) < 2:
        raise AdvisorError(
            f"{counts[-1]} samples of the attacker are too few for a learning curve.", f"Pass {4 * FEWEST} or more."
        )
    points, total, done = [], sum(counts), 0
    for count in counts:
        result = evaluator.attack(plan, "quick", part(progress, done / total, count / total), name=ATTACK, own=count)
        points.append(Point(count, result.nmse.value, result.nmse.stderr))
        done += count
    return told(LearningCurve(tuple(points)), wanted) | {"cut": plan.cut.name, "defense": str(plan.defense)}


def told(curve: LearningCurve, wanted: int) -> dict[str, Any]:
    """A learning curve and its answer for so many samples, as plain JSON values."""
    farthest = max(wanted, curve.most)
    counts = np.unique(np.geomspace(min(p.samples for p in curve.points), farthest, DRAWN).round().astype(int))
    return {
        "asked": wanted,
        "attack": f"quick {ATTACK}",
        "points": [{"samples": p.samples, "nmse": p.nmse, "stderr": p.stderr} for p in curve.points],
        "found": _row(curve, wanted),
        "known": curve.known(wanted),
        "enough": curve.enough(wanted),
        "curve": [_row(curve, int(count)) for count in counts],
    }


def _row(curve: LearningCurve, samples: int) -> dict[str, float]:
    found = curve.at(samples)
    row = {"samples": samples, "nmse": found.value, "low": found.low, "high": found.high}
    return {name: value for name, value in row.items() if math.isfinite(value)}
