"""What every cut leaks and costs, drawn over the cuts, with the zone shaded and the chosen cut marked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from advisor.columns import Profile
from advisor.plans import Advice
from advisor.reports.svg import PALETTE, draw, legend
from advisor.reports.tables import TIMES, flagged, important_rows, label, pick_rows, run_edges, show_cuts, zone_rows
from advisor.reports.text import clean, shorten
from advisor.reports.words import plan_name
from advisor.units import show_duration, show_size

CROWDED = 60
"""From this many cuts on, points and gaps between bars would blur."""
LABELS = 18
"""Most cuts whose names fit under the axis."""

LEFT_OVER = (
    ("score", "score", "-"),
    ("score_ssim", "ssim", "-"),
    ("ka_nmse", "quick", "--"),
    ("linear_nmse", "linear", ":"),
)
PROXIES = (("rc2_ratio", "score", "-"), ("fisher_snr", "ssim", "--"), ("rate", "linear", ":"))


def curves(advice: Advice) -> str:
    """Leakage, proxies, latency and bytes over the cuts, one above the other; "" when the profile holds none."""
    profile = advice.profile
    panels = [
        (height, panel)
        for height, names, panel in (
            (2.6, [name for name, _, _ in LEFT_OVER], _leakage_panel),
            (1.7, [name for name, _, _ in PROXIES], _proxy_panel),
            (2.2, TIMES, _latency_panel),
            (1.7, ["bytes"], _bytes_panel),
        )
        if any(name in profile for name in names)
    ]
    if not panels:
        return ""

    def build(figure: Figure) -> None:
        ratios = [height for height, _ in panels]
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios)
        for axes, (_, panel) in zip(grid[:, 0], panels, strict=True):
            _mark(axes, advice)
            panel(axes, advice)
        _name_cuts(grid[-1, 0], advice)

    height = sum(height for height, _ in panels) + 1.3
    return draw(build, (10.5, height), "curves", "Leakage, latency and bytes at every cut", describe(advice))


def describe(advice: Advice) -> str:
    """The curves in words, for those who do not see them."""
    zone = zone_rows(advice)
    where = f"The golden zone covers {show_cuts(zone)}." if zone else "There is no golden zone."
    chosen = f" The chosen plan cuts at {plan_name(advice.best)}." if advice.best else ""
    return clean(f"{where}{chosen} The table of cuts holds the same numbers.")


def _leakage_panel(axes: Axes, advice: Advice) -> None:
    for name, role, style in LEFT_OVER:
        if name in advice.profile:
            _line(axes, advice.profile, name, role, style)
    axes.set_ylim(-0.03, max(1.05, min(1.6, axes.get_ylim()[1])))
    axes.set_title("What an attacker is left with (NMSE: higher is more private; SSIM: lower is)")
    legend(axes)


def _proxy_panel(axes: Axes, advice: Advice) -> None:
    profile = advice.profile
    for name, role, style in PROXIES:
        if name in profile:
            _line(axes, profile, name, role, style)
    _log_scale(axes, [profile[name].values for name, _, _ in PROXIES if name in profile])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title("Cheap proxies of leakage (lower is more private)")
    legend(axes)


def _latency_panel(axes: Axes, advice: Advice) -> None:
    profile = advice.profile
    names = [name for name in TIMES if name in profile]
    whole = np.isfinite([profile[name].values for name in names]).all(axis=0)
    base = np.zeros(len(profile.cuts))
    for name in names:
        values = np.where(whole, profile[name].values, 0.0)
        role = name.removesuffix("_latency")
        axes.bar(
            range(len(values)),
            values,
            0.82 if len(values) <= CROWDED else 1.0,
            base,
            color=PALETTE[role],
            label=f"{role} ({profile[name].source})",
        )
        base = base + values
    for i in np.flatnonzero(~whole):
        axes.text(float(i), 0, "n/m", ha="center", va="bottom", rotation=90, color=PALETTE["muted"], fontsize=8)
    if advice.budgets.max_latency is not None:
        axes.axhline(advice.budgets.max_latency, color=PALETTE["limit"], lw=1.2, ls="--", label="budget")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show_duration(value) if value else "0"))
    axes.set_title("Latency of one input")
    legend(axes)


def _bytes_panel(axes: Axes, advice: Advice) -> None:
    values = advice.profile["bytes"].values
    axes.step(range(len(values)), values, where="mid", color=PALETTE["link"], lw=1.8)
    axes.plot(range(len(values)), values, ls="none", marker=_dot(len(values)), ms=3.5, color=PALETTE["link"])
    _log_scale(axes, [values], base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show_size(value)))
    axes.set_title(f"Bytes that cross, before any defense ({advice.profile['bytes'].source}, log scale)")


def _line(axes: Axes, profile: Profile, name: str, role: str, style: str) -> None:
    column, at = profile[name], range(len(profile.cuts))
    axes.plot(
        at,
        column.values,
        style,
        color=PALETTE[role],
        lw=1.8,
        marker="o",
        ms=3.5,
        label=f"{label(name)} ({column.source})",
    )
    spread = np.isfinite(column.low) & np.isfinite(column.high)
    if (column.high > column.low)[spread].any():
        axes.fill_between(at, column.low, column.high, where=spread, color=PALETTE[role], alpha=0.16, lw=0)


def _dot(count: int) -> str:
    return "o" if count <= CROWDED else ""


def _log_scale(axes: Axes, drawn_values: Sequence[np.ndarray], base: int = 10) -> None:
    drawn = [value for values in drawn_values for value in values if value > 0]
    if drawn:
        axes.set_yscale("log", base=base, nonpositive="mask")
        axes.set_ylim(min(drawn) / 1.6, max(drawn) * 1.6)


def _mark(axes: Axes, advice: Advice) -> None:
    for start, end in _runs(zone_rows(advice)):
        axes.axvspan(start - 0.5, end + 0.5, color=PALETTE["zone"], alpha=0.45, lw=0, zorder=0)
    for start, end in _runs(flagged(advice.profile, "in_gpz")):
        axes.axvspan(start - 0.5, end + 0.5, 0, 0.035, color=PALETTE["published"], lw=0, zorder=0.5)
    if advice.best is not None:
        for cut in advice.best.cuts:
            axes.axvline(cut.index, color=PALETTE["chosen"], lw=1.6, zorder=3)
    axes.grid(axis="y", lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlim(-0.6, len(advice.profile.cuts) - 0.4)


def _name_cuts(axes: Axes, advice: Advice) -> None:
    count, chosen = len(advice.profile.cuts), [cut.index for cut in advice.best.cuts] if advice.best else []
    rows = _apart(pick_rows(count, important_rows(advice), LABELS), count / 40, chosen)
    names = [f"{i} {shorten(advice.profile.cuts[i].name, 20)}" for i in rows]
    axes.set_xticks(rows, labels=names, rotation=38, ha="right", rotation_mode="anchor", parse_math=False)
    for i, tick in zip(rows, axes.get_xticklabels(), strict=True):
        if i in chosen:
            tick.set(color=PALETTE["chosen"], weight="bold")


def _apart(rows: Sequence[int], gap: float, keep: Sequence[int]) -> list[int]:
    """Leave out labels that would overlap; those in `keep` stay."""
    kept = list(keep)
    for i in rows:
        if all(abs(i - other) >= gap for other in kept):
            kept.append(i)
    return sorted(kept)


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    edges = run_edges(indices)
    return list(zip(edges[::2], edges[1::2], strict=True))
