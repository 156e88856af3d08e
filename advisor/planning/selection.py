"""Which plan to recommend: the fastest inside every budget whose own leakage, defense included, is low enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from advisor.plans import Plan, Verdict
from advisor.requirements import REQUIREMENTS, Budgets, Requirement, front
from advisor.units import show_points, show_size
from advisor.verdicts import as_sent

FASTEST = REQUIREMENTS["max_latency"]
"""The usual objective."""


@dataclass(frozen=True)
class LeakageLimits:
    """What a plan may leak: the user's budget, else the zone's thresholds.

    Attributes:
        min_nmse: lowest normalised error that must be left to the strong attack; None: no such limit.
        max_ssim: highest structural similarity it may reach; None: no such limit.
        asked: whether the user stated them; a plan over a stated budget is not feasible.
        best_in: what is to be best among the plans within the limits.
        confidence: of the interval whose unfavourable end must keep every limit; None: as each row says.
    """

    min_nmse: float | None
    max_ssim: float | None
    asked: bool
    best_in: Requirement = FASTEST
    confidence: float | None = None

    @property
    def by_name(self) -> dict[str, float]:
        """The limits that are set, by requirement."""
        limits = {"min_nmse": self.min_nmse, "max_ssim": self.max_ssim}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def shortfall(self, plan: Plan) -> dict[str, float]:
        """How far a plan misses each limit, at the unfavourable end of its 90 % interval; NaN: not measured."""
        return plan.missing(self.by_name, self.confidence)


def with_excess(plan: Plan, budgets: Budgets, limits: LeakageLimits) -> Plan:
    """The plan with every stated budget that it misses."""
    asked = dict(budgets.limits) | (limits.by_name if limits.asked else {})
    return dataclasses.replace(plan, excess=plan.missing(asked, limits.confidence))


def choose(plans: Sequence[Plan], limits: LeakageLimits) -> Plan | None:
    """The feasible plan within the leakage limits that is best, else the most private feasible one, else None."""
    feasible = [plan for plan in plans if plan.feasible]
    private = [plan for plan in feasible if not limits.shortfall(plan)]
    if private:
        return min(private, key=lambda plan: rank(plan, limits.best_in))
    return min(feasible, key=_most_private, default=None)


@dataclass(frozen=True)
class Choice:
    """What is recommended.

    Attributes:
        verdict: as `Advice.verdict`.
        best: its plan; with "none" the nearest, None where there is none.
        best_split: the best split whatever the verdict, the nearest where none is feasible.
        nearest: where nothing is feasible, what misses the budgets by least.
    """

    verdict: Verdict
    best: Plan | None
    best_split: Plan | None
    nearest: tuple[Plan, ...] = ()


def verdict(
    splits: Sequence[Plan], baselines: Sequence[Plan], limits: LeakageLimits, budgets: Budgets,
    require_split: bool = False,
) -> Choice:  # fmt: skip
    """Of all-edge, all-cloud and the splits that meet everything, the best; a baseline goes before an equal split.

    Args:
        splits, baselines: judged plans; of the baselines all-edge first, and a local head last where there is one.
        limits: what a plan may leak.
        budgets: what was asked; all-cloud counts only where they waive leakage (`min_nmse=0`).
        require_split: leave the baselines out.
    """
    split, best_in = choose(splits, limits), limits.best_in
    close = () if any(plan.feasible for plan in splits) else nearest(splits, budgets)
    shown = split if split is not None else next(iter(close), None)
    whole = [] if require_split else [p for p in baselines if p.kind != "all-cloud" or waives_leakage(budgets)]
    meeting = [plan for plan in whole if meets(plan, limits)]
    if split is not None and not limits.shortfall(split):
        meeting.append(split)
    if meeting:
        best = min(meeting, key=lambda plan: (cost_of(plan, best_in), plan is split, rank(plan, best_in)))
        return Choice(best.kind, best, shown)
    if split is not None:
        return Choice("split", split, shown)
    close = nearest([*splits, *(plan for plan in whole if plan.kind != "all-cloud")], budgets)
    return Choice("none", next(iter(close), None), shown, close)


def meets(plan: Plan, limits: LeakageLimits) -> bool:
    """Whether a judged plan meets every requirement, the zone's thresholds where no leakage is limited."""
    return plan.feasible and not limits.shortfall(plan)


def waives_leakage(budgets: Budgets) -> bool:
    """Whether the user said that leakage does not matter."""
    return budgets.min_nmse == 0 and (budgets.max_ssim is None or budgets.max_ssim >= 1)


def limits_of(
    budgets: Budgets, zone: Mapping[str, float], best_in: Requirement, confidence: float | None
) -> LeakageLimits:
    """What a plan may leak: the leakage that was asked for, else what makes a cut private by itself.

    Args:
        budgets: what was asked.
        zone: the zone's thresholds, by requirement; without `max_ssim` where inputs are no images.
        best_in, confidence: as `LeakageLimits` has them.
    """
    if budgets.has_leakage:
        return LeakageLimits(budgets.min_nmse, budgets.max_ssim, True, best_in, confidence)
    return LeakageLimits(zone.get("min_nmse"), zone.get("max_ssim"), False, best_in, confidence)


def rank(plan: Plan, best_in: Requirement) -> tuple[float, ...]:
    """Least is best: the objective, then leakage, accuracy and all the rest, so that nothing beats the first in all."""
    order = [best_in, REQUIREMENTS["min_nmse"], REQUIREMENTS["max_accuracy_drop"], *REQUIREMENTS.values()]
    return tuple(cost_of(plan, row) for row in {row.name: row for row in order}.values())


def nearest(plans: Sequence[Plan], budgets: Budgets, count: int = 3) -> tuple[Plan, ...]:
    """The plans whose values miss the budgets by least, relative to each; what is not measured counts as far off."""
    missing = [plan for plan in plans if not plan.feasible]
    return tuple(sorted(missing, key=lambda p: (*_distance(p, budgets), *rank(p, FASTEST)))[:count])


def nearest_first(plans: Sequence[Plan], budgets: Budgets, limits: LeakageLimits) -> list[Plan]:
    """Plans in the order in which they would be chosen: what meets everything by rank, then what misses least."""

    def order(plan: Plan) -> tuple[float, ...]:
        short = limits.shortfall(plan)
        unknown, _, missed = _distance(plan, budgets)
        unknown += sum(math.isnan(over) for over in short.values() if not limits.asked)
        missed += sum(over for over in short.values() if not math.isnan(over)) if not limits.asked else 0.0
        return (bool(plan.excess or short), unknown, missed, *rank(plan, limits.best_in))

    return sorted(plans, key=order)


def next_best(
    best: Plan | None, plans: Sequence[Plan], budgets: Budgets, limits: LeakageLimits, count: int = 3
) -> tuple[Plan, ...]:
    """The plans that would be chosen next, each of another cut or another kind of defense than those before it."""
    there = set() if best is None else {_sort(best)}
    found: list[Plan] = []
    for plan in nearest_first(plans, budgets, limits):
        if _sort(plan) not in there and len(found) < count:
            there.add(_sort(plan))
            found.append(plan)
    return tuple(found)


def _sort(plan: Plan) -> tuple[str, ...]:
    """What a plan is, its parameters left out."""
    method = "" if plan.fitted is None else plan.fitted.method
    return (plan.kind, *plan.places, plan.defense.name, method)


def pareto(plans: Sequence[Plan], count: int = 12) -> tuple[Plan, ...]:
    """Plans that no other beats in all that the front weighs (latency, leakage, accuracy), fastest first."""
    points = [tuple(cost_of(plan, row) for row in front()) for plan in plans]
    kept = [
        plan
        for plan, point in zip(plans, points, strict=True)
        if not any(all(o <= m for o, m in zip(other, point, strict=True)) and other != point for other in points)
    ]
    unique = {p.key: p for p in kept}
    ordered = sorted(unique.values(), key=lambda p: _value(p, "latency"))
    if len(ordered) <= count:
        return tuple(ordered)
    picked = sorted({round(i * (len(ordered) - 1) / (count - 1)) for i in range(count)})
    return tuple(ordered[i] for i in picked)


def reasons(best: Plan | None, plans: Sequence[Plan], limits: LeakageLimits) -> tuple[str, ...]:
    """Why this plan, one sentence each; `plans` are the splits."""
    if best is None or not best.feasible:
        return (_none_fits(plans),)
    if best.kind != "split":
        return (_why_whole(best, plans, limits),)
    feasible = [plan for plan in plans if plan.feasible]
    score = best.predicted["score"]
    said = []
    if limits.shortfall(best):
        said.append(
            f"No plan inside the budgets hides the input well enough ({_limits(limits)}); "
            f"this is the most private of {len(feasible)}."
        )
    else:
        private = [plan for plan in feasible if not limits.shortfall(plan)]
        rank = "the only plan" if len(private) == 1 else f"the fastest of {len(private)} plans"
        said.append(f"It is {rank} inside the budgets to hide the input well enough ({_limits(limits)}).")
    if not math.isnan(score.value):
        priced = score.source == "measured"  # what was fitted against the estimators is priced by an attack
        attack = "The quick attack that priced it was" if priced else "A strong inversion attack is predicted to be"
        said.append(
            f"{attack} left with an NMSE of {score.value:.2f} "
            f"(90 % interval {score.low:.2f}–{score.high:.2f}; 0 is a perfect copy, 1 is a guess of the mean)."
        )
    drop = best.predicted["accuracy_drop"]
    if not math.isnan(drop.value):
        said.append(f"It {costs_or_gains(drop.value)} {drop.method.partition(' on ')[0]}.")
    swap = best.predicted.get("edge_swap")
    if swap is not None and swap.value > 0:
        said.append(
            f"Its edge half does not fit the device's memory: {show_size(swap.value)} would be swapped, "
            "which none of the times counts."
        )
    if best.verified:
        what, name = ("inversion attack", "nmse") if "nmse" in best.verified else ("attack on ids", "top1")
        found, unit = best.verified[name], "" if name == "nmse" else " of them at its first guess"
        effort = f"{best.evidence[0].budget} " if best.evidence else ""
        said.append(
            f"The {effort}{what} that was run on what it really sends reached {found.value:.2f} "
            f"({found.low:.2f}–{found.high:.2f}){unit}."
        )
    return tuple(said)


def unhidden(
    best: Plan | None, whole: Sequence[Plan], limits: LeakageLimits, budgets: Budgets, require_split: bool = False
) -> tuple[str, ...]:
    """That sending the input itself would be better in the objective, where it may not be chosen; else nothing."""
    waived, row = waives_leakage(budgets), limits.best_in
    if best is None or not best.feasible or best.kind == "all-cloud" or (waived and not require_split):
        return ()
    clouds = [p for p in whole if p.kind == "all-cloud" and not any(not REQUIREMENTS[n].leakage for n in p.excess)]
    least = min(clouds, key=lambda plan: rank(plan, row), default=None)
    if least is None or not cost_of(least, row) < cost_of(best, row):
        return ()
    ours, theirs = best.found(row), least.found(row)
    assert ours is not None
    assert theirs is not None
    why = "a split was required" if waived else "it counts only where leakage is waived (--min-nmse 0)"
    better = f"has a {row.label} of {row.show(theirs.value)}, for {row.show(ours.value)} of this plan"
    return (f"All in the cloud{as_sent(least)}, {better}, and hides nothing: {why}.",)


def costs_or_gains(drop: float) -> str:
    """A drop in words: what is negative is no cost."""
    if drop < 0:
        return f"gains {show_points(-drop)} of"
    return f"costs {show_points(drop)} of" if drop > 0 else "costs nothing of"


def _why_whole(best: Plan, plans: Sequence[Plan], limits: LeakageLimits) -> str:
    """Why all-edge or all-cloud."""
    meeting = [plan for plan in plans if plan.feasible and not limits.shortfall(plan)]
    where = "the cloud" if best.kind == "all-cloud" else "the edge"
    leaks = "sends nothing" if best.kind != "all-cloud" else "sends the input itself, and leakage was waived"
    rivals = f"no split that meets them ({len(meeting)} do) is better" if meeting else "no split meets them"
    what = "everything" if best.kind != "local-head" else "the first layers and a small head of their own"
    return f"Running {what} on {where} meets every requirement and {leaks}; {rivals}."


def _none_fits(plans: Sequence[Plan]) -> str:
    """What no plan meets, each with the least by which a plan misses it."""
    missed: dict[str, float] = {}
    for plan in plans:
        for name, over in plan.excess.items():
            if not over >= missed.get(name, math.inf):
                missed[name] = over
    always = [name for name in missed if all(name in plan.excess for plan in plans)]
    least = ", ".join(describe_excess(name, missed[name]) for name in always)
    return "No split meets the budgets" + (f": every one misses {least} or more." if least else " together.")


def describe_excess(name: str, over: float) -> str:
    """One budget that is missed, in words: `--max-latency by 3 ms`."""
    row = REQUIREMENTS[name]
    return f"{row.option} could not be measured" if math.isnan(over) else f"{row.option} by {row.show(over)}"


def _limits(limits: LeakageLimits) -> str:
    parts = [
        f"{row.quantity.upper()} of {row.sense} {limits.by_name[row.name]:.2g}"
        for row in sorted(REQUIREMENTS.values(), key=lambda row: row.minimised)
        if row.name in limits.by_name
    ]
    return " and ".join(parts) + ("" if limits.asked else ", the zone's thresholds")


def _most_private(plan: Plan) -> tuple[float, float, float]:
    score, similar = plan.leakage("score"), plan.leakage("score_ssim")
    return (-_known(score.value), 0.0 if math.isnan(similar.value) else similar.value, _value(plan, "latency"))


def _distance(plan: Plan, budgets: Budgets) -> tuple[int, float, float]:
    """How many budgets could not be checked, and how far the others are missed, each relative to its limit.

    First by the values, which is what a user sees of a plan, then by what is held against the limits, which may be the
    ends of intervals.
    """
    shown = held = 0.0
    for name, over in plan.excess.items():
        if math.isnan(over):
            continue
        row, limit = REQUIREMENTS[name], budgets.limits.get(name, 0.0)
        scale, found = limit if limit > 0 else 1.0, plan.found(row)
        value = limit if found is None else found.value
        held += over / scale
        shown += max(0.0, value - limit if row.minimised else limit - value) / scale
    return sum(math.isnan(over) for over in plan.excess.values()), shown, held


def cost_of(plan: Plan, row: Requirement) -> float:
    """What the front and the objective compare: less is better, what was not measured is worst."""
    found = plan.found(row)
    if found is None or math.isnan(found.value):
        return math.inf
    return found.value if row.minimised else -found.value


def _value(plan: Plan, quantity: str) -> float:
    value = plan.predicted[quantity].value
    return math.inf if math.isnan(value) else value


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value
