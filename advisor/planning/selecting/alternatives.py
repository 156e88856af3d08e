"""Plans that stand beside the chosen one in every report: other aims, other formats, another device."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Iterator, Sequence

from advisor import profilers
from advisor.defenses import DEFENSES
from advisor.errors import AdvisorError
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import FASTEST, LeakageLimits
from advisor.planning.selecting.alternative_roles import ELSEWHERE
from advisor.planning.selecting.selection import Choice, rank, rank_within, with_excess
from advisor.plans import Plan
from advisor.profilers import Device
from advisor.requirements import Budgets

FORMATS = ("fp16", "int8")
"""How activations are sent where nothing else is done to them."""


def alternatives(
    evaluator: PlanEvaluator, plans: tuple[Plan, ...], sent: tuple[Plan, ...], chosen: Choice, limits: LeakageLimits,
    budgets: Budgets,
) -> dict[str, Plan]:  # fmt: skip
    """Role -> plan: fastest private, most private, formats of inputs and activations, the next device up.

    Args:
        evaluator: prices them.
        plans: every split that was priced and verified.
        sent: all-cloud with inputs as people send them, judged.
        chosen: the verdict.
        limits, budgets: what was asked.
    """
    found = dict(by_aim(plans, limits, evaluator.study.zone.cuts))
    found |= {f"all in the cloud, {plan.sends}": plan for plan in sent}
    priced = [*_activations(evaluator, chosen), *_next_device(evaluator, chosen)]
    return found | {role: with_excess(plan, budgets, limits) for role, plan in priced}


def by_aim(plans: Sequence[Plan], limits: LeakageLimits, zone: Container[str]) -> Iterator[tuple[str, Plan]]:
    """Of the plans that were priced, the best by other aims than the objective."""
    feasible = [plan for plan in plans if plan.feasible]
    private = [plan for plan in feasible if not limits.shortfall(plan)]
    if private:
        yield "fastest private", min(private, key=lambda plan: rank(plan, FASTEST, limits.accuracy_open))
    if feasible:
        yield "most private", max(feasible, key=lambda plan: _known(plan.leakage("score").value, -math.inf))
    inside = [plan for plan in feasible if plan.places[0] in zone]
    if inside:
        yield "best in the golden zone", min(inside, key=lambda plan: rank_within(plan, limits))


def _known(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


# ---- as people send activations ----------------------------------------------------------------------------------


def _activations(evaluator: PlanEvaluator, chosen: Choice) -> Iterator[tuple[str, Plan]]:
    """The best split's cut with nothing done but a smaller format."""
    split = chosen.best_split
    if split is None or split.graph is not evaluator.graph or split.cut.undefendable is not None:
        return
    for name in FORMATS:
        yield f"best split's cut, {name} alone", evaluator.evaluate(split.cut, DEFENSES[name]())


# ---- the next device up ------------------------------------------------------------------------------------------


def _next_device(evaluator: PlanEvaluator, chosen: Choice) -> Iterator[tuple[str, Plan]]:
    """The verdict's plan on the slowest device of the catalog on which it is faster; none where ours was measured."""
    best = chosen.best
    if best is None or best.graph is not evaluator.graph or best.kind == "all-cloud":
        return
    for device in devices_above(evaluator.device):
        there = _on(device, best, evaluator)
        if there is not None and there.predicted["latency"].value < best.predicted["latency"].value:
            yield f"{ELSEWHERE}{device.name}", there
            return


def _on(device: Device, best: Plan, evaluator: PlanEvaluator) -> Plan | None:
    """The plan with its costs on another device; None where no published latency supports it there."""
    try:
        costs = profilers.profile(evaluator.graph, device, evaluator.link, evaluator.profile.provenance["cloud"]["key"])
    except (AdvisorError, KeyError, TypeError):
        return None
    elsewhere = dataclasses.replace(evaluator, profile=evaluator.profile.joined(costs), device=device)
    priced = elsewhere.costs(best.cut, best.defense, best.tail)
    if best.kind != "split":
        priced["bytes"] = best.predicted["bytes"]
    return dataclasses.replace(best, predicted=best.predicted | priced)


def devices_above(device: Device) -> list[Device]:
    """Edge devices of the same runtime and precision with a higher peak rate, the lowest first."""
    if not math.isfinite(device.peak) or device.calibration or device.name == profilers.LOCAL:
        return []
    rows = []
    for row in profilers.devices():
        try:
            found = profilers.device(f"{row.name}:{device.runtime}:{device.precision}")
        except AdvisorError:  # it does not have this runtime
            continue
        if found.kind == "edge" and found.peak > 1.05 * device.peak:
            rows.append(found)
    return sorted(rows, key=lambda row: (row.peak, row.key))
