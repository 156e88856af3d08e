"""Why the plan that was chosen, or why none, one sentence each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advisor.planning.evaluating.leakage_limits import FASTEST, LeakageLimits
from advisor.planning.selecting.selection import cost_of, rank, waives_leakage
from advisor.plans import Plan
from advisor.requirements import REQUIREMENTS, Budgets
from advisor.units import show_points, show_ratio, show_share, show_size
from advisor.verdicts import as_sent


def reasons(best: Plan | None, plans: Sequence[Plan], limits: LeakageLimits) -> tuple[str, ...]:
    """Why this plan, one sentence each; `plans` are the splits."""
    if best is None or not best.feasible:
        return (_none_fits(plans, limits),)
    if best.kind != "split":
        return (_why_whole(best, plans, limits),)
    feasible = [plan for plan in plans if plan.feasible]
    score = best.predicted["score"]
    said = []
    if math.isnan(score.value) and not limits.asked:
        said.append(
            f"What leaks could not be held against the zone's thresholds, as no NMSE was measured ({score.method}); "
            f"this is {_best_of(feasible, limits)} inside the budgets."
        )
        if "top1" in best.verified:
            said.append("How many ids are recovered is limited by --max-ids-recovered, which was not asked.")
    elif limits.shortfall(best):
        said.append(
            f"No plan inside the budgets hides the input well enough ({_limits(limits)}); "
            f"this is the most private of {len(feasible)}."
        )
    else:
        private = [plan for plan in feasible if not limits.shortfall(plan)]
        hides = f" to hide the input well enough ({_limits(limits)})" if limits.by_name else ""
        said.append(f"It is {_best_of(private, limits)} inside the budgets{hides}.")
    if not math.isnan(score.value):
        priced = score.source == "measured"  # what was fitted against the estimators is priced by an attack
        attack = "The quick attack that priced it was" if priced else "A strong inversion attack is predicted to be"
        said.append(
            f"{attack} left with an NMSE of {show_ratio(score.value)} "
            f"(90 % interval {show_ratio(score.low)}–{show_ratio(score.high)}; "
            "0 is a perfect copy, 1 is a guess of the mean)."
        )
    drop = best.predicted["accuracy_drop"]
    if not math.isnan(drop.value):
        asked = "; no limit was asked (--max-accuracy-drop)" if limits.accuracy_open and drop.low > 0 else ""
        said.append(f"It {costs_or_gains(drop.value)} {drop.method.partition(' on ')[0]}{asked}.")
    swap = best.predicted.get("edge_swap")
    if swap is not None and swap.value > 0:
        said.append(
            f"Its edge half does not fit the device's memory: {show_size(swap.value)} would be swapped, "
            "which none of the times counts."
        )
    if best.verified:
        what, name = ("inversion attack", "nmse") if "nmse" in best.verified else ("attack on ids", "top1")
        show, rest = (show_ratio, "") if name == "nmse" else (show_share, " of them at its first guess")
        found = best.verified[name]
        effort = f"{best.evidence[0].budget} " if best.evidence else ""
        said.append(
            f"The {effort}{what} that was run on what it really sends reached {show(found.value)} "
            f"({show(found.low).removesuffix(' %')}–{show(found.high)}){rest}."
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
    better = f"has a {row.label} of {row.show(theirs.value)}, where this plan has {row.show(ours.value)}"
    return (f"All in the cloud{f'{sent},' if (sent := as_sent(least)) else ''} {better}, and hides nothing: {why}.",)


def unsplit(best: Plan | None, whole: Sequence[Plan], limits: LeakageLimits, require_split: bool) -> tuple[str, ...]:
    """That everything on the edge would be better in the objective, where a split was required; else nothing."""
    row = limits.best_in
    edge = next((p for p in whole if p.kind == "all-edge" and p.feasible and not limits.shortfall(p)), None)
    if not require_split or best is None or edge is None or not cost_of(edge, row) < cost_of(best, row):
        return ()
    ours, theirs = best.found(row), edge.found(row)
    assert ours is not None
    assert theirs is not None
    better = f"has a {row.label} of {row.show(theirs.value)}, where this plan has {row.show(ours.value)}"
    return (f"Everything on the edge meets every requirement and {better}: a split was required.",)


def costs_or_gains(drop: float) -> str:
    """A drop in words: what is negative is no cost."""
    if drop < 0:
        return f"gains {show_points(-drop)} of"
    return f"costs {show_points(drop)} of" if drop > 0 else "costs nothing of"


def _best_of(plans: Sequence[Plan], limits: LeakageLimits) -> str:
    """`the fastest of 3 plans`."""
    best = "the fastest" if limits.best_in == FASTEST else f"the best in {limits.best_in.label}"
    return "the only plan" if len(plans) == 1 else f"{best} of {len(plans)} plans"


def _why_whole(best: Plan, plans: Sequence[Plan], limits: LeakageLimits) -> str:
    """Why all-edge or all-cloud."""
    meeting = [plan for plan in plans if plan.feasible and not limits.shortfall(plan)]
    where = "the cloud" if best.kind == "all-cloud" else "the edge"
    leaks = "sends nothing" if best.kind != "all-cloud" else "sends the input itself, and leakage was waived"
    surely = "surely " if (by_value := _by_value(plans, limits)) else ""
    none = f"no split {surely}meets them{'' if limits.asked else f' ({_limits(limits)})'}{by_value}"
    rivals = f"no split that meets them ({len(meeting)} do) is better" if meeting else none
    what = "everything" if best.kind != "local-head" else "the first layers and a small head of their own"
    return f"Running {what} on {where} meets every requirement and {leaks}; {rivals}."


def _by_value(plans: Sequence[Plan], limits: LeakageLimits) -> str:
    """How many plans miss what they miss at an end of an interval alone: there more attacks may decide; "" if none."""

    def stands(plan: Plan, name: str) -> bool:
        row = REQUIREMENTS[name]
        found, limit = plan.found(row), limits.by_name.get(name)
        return (
            limit is not None and found is not None and not (math.isnan(found.value) or row.worse(found.value, limit))
        )

    missing = [(plan, {*plan.excess, *limits.shortfall(plan)}) for plan in plans]
    count = sum(bool(names) and all(stands(plan, name) for name in names) for plan, names in missing)
    do = "1 does by its value" if count == 1 else f"{count} do by their values"
    return f" ({do}, not at the unfavourable end of the interval, which counts)" if count else ""


def _none_fits(plans: Sequence[Plan], limits: LeakageLimits) -> str:
    """What no plan meets, each with the least by which a plan misses it."""
    missed: dict[str, float] = {}
    for plan in plans:
        for name, over in plan.excess.items():
            if not over >= missed.get(name, math.inf):
                missed[name] = over
    always = [name for name in missed if all(name in plan.excess for plan in plans)]
    least = ", ".join(describe_excess(name, missed[name]) for name in always if not math.isnan(missed[name]))
    unknown = ", ".join(REQUIREMENTS[name].option for name in always if math.isnan(missed[name]))
    surely = "surely " if (by_value := _by_value(plans, limits)) else ""
    said = [f"every one misses {least} or more"] if least else []
    said += [f"{unknown} could not be measured of any"] if unknown else []
    return f"No split {surely}meets the budgets{by_value}{': ' if said else ' together'}{'; '.join(said)}."


def describe_excess(name: str, over: float) -> str:
    """One budget that is missed, in words: `--max-latency by 3 ms`."""
    row = REQUIREMENTS[name]
    return f"{row.option} could not be measured" if math.isnan(over) else f"{row.option} by {row.show(over)}"


def _limits(limits: LeakageLimits) -> str:
    parts = [
        f"{row.quantity.upper()} of {row.sense} {limits.by_name[row.name]:.3g}"
        for row in sorted(REQUIREMENTS.values(), key=lambda row: row.minimised)
        if row.name in limits.by_name
    ]
    return " and ".join(parts) + ("" if limits.asked else ", the zone's thresholds")
