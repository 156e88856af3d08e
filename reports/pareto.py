"""The plans worth considering: latency against what an attacker is left with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from advisor.plans import Advice, Plan
from advisor.reports.quantities import quantity
from advisor.reports.svg import PALETTE, draw, legend
from advisor.units import show_duration

MARKERS = "osD^vP*Xph<>"


def pareto(advice: Advice) -> str:
    """Latency against score of every plan that is shown; "" when no plan has both."""
    groups = [*advice.pareto, *advice.nearest, *advice.baselines, *([advice.best] if advice.best else [])]
    plans = [plan for plan in groups if _point(plan) is not None]
    if not plans:
        return ""

    def build(figure: Figure) -> None:
        axes = figure.subplots()
        for position, name in enumerate(dict.fromkeys(_family(plan) for plan in plans)):
            _scatter(axes, [plan for plan in plans if _family(plan) == name], name, position)
        _front(axes, advice)
        _limits(axes, advice)

    feasible = sum(plan.feasible for plan in plans if plan.kind == "split")
    words = (
        f"{len(plans)} plans, {feasible} of the splits inside every budget; lower latency and higher score are better."
    )
    return draw(build, (10.5, 4.4), "front", "Pareto front of latency and score", words)


def _scatter(axes: Axes, plans: Sequence[Plan], name: str, position: int) -> None:
    role = ("score", "edge", "link", "cloud", "ssim", "linear")[position % 6]
    fill = {True: PALETTE[role], False: "none"}
    points = [(point, plan.feasible and plan.kind == "split") for plan in plans if (point := _point(plan))]
    groups = {ok: [point for point, kind in points if kind == ok] for ok in (True, False)}
    for ok, group in groups.items():
        if group:
            axes.plot(
                *zip(*group, strict=True), MARKERS[position % len(MARKERS)], ms=8, color=PALETTE[role], mfc=fill[ok],
                mew=1.6, label=name if ok or not groups[True] else None, zorder=3,
            )  # fmt: skip
    for plan in plans:
        found = plan.predicted.get("score")
        point = _point(plan)
        if found is not None and point and math.isfinite(found.low) and found.low < found.high:
            axes.vlines(point[0], found.low, found.high, color=PALETTE[role], lw=1, alpha=0.5, zorder=2)


def _front(axes: Axes, advice: Advice) -> None:
    front = _staircase([point for plan in advice.pareto if plan.feasible and (point := _point(plan))])
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", color=PALETTE["muted"], lw=1, ls=":", zorder=1)
    best = advice.best and _point(advice.best)
    if best:
        axes.plot(*best, "o", ms=19, mfc="none", color=PALETTE["chosen"], mew=1.8, zorder=4, label="chosen")
    axes.set_ylim(-0.05, 1.08)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show_duration(value) if value else "0"))
    axes.set(xlabel="latency of one input", ylabel=f"{quantity('score').label}: NMSE left to a strong attack")
    axes.grid(lw=0.7)


def _staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both latency and score, fastest first."""
    kept: list[tuple[float, float]] = []
    for latency, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or score > kept[-1][1]:
            kept.append((latency, score))
    return kept


def _limits(axes: Axes, advice: Advice) -> None:
    """The budgets on the two axes."""
    for row, limit in advice.budgets:
        if row.measurement == "latency":
            axes.axvline(limit, color=PALETTE["limit"], lw=1.2, ls="--", label="latency budget")
        elif row.measurement == "score":
            axes.axhline(limit, color=PALETTE["limit"], lw=1.2, ls="-.", label="leakage budget")
    legend(axes)


def _point(plan: Plan) -> tuple[float, float] | None:
    pair = [plan.predicted[name].value if name in plan.predicted else math.nan for name in ("latency", "score")]
    return (pair[0], pair[1]) if all(map(math.isfinite, pair)) else None


def _family(plan: Plan) -> str:
    if plan.kind != "split":
        return plan.kind.replace("-", " ")
    return "no defense" if plan.defense.name == "none" else str(plan.defense.name)
