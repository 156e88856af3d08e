"""Truth beside estimates: rank correlations, the score's errors, coverage and zone edges. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from advisor.columns import Column, Profile
from advisor.cuts import Cut, TensorSpec
from advisor.estimate import NORMAL_90, Estimate
from advisor.estimators.noise import under_noise
from advisor.estimators.study.score import GAIN_DOUBT, Target, score_columns
from advisor.estimators.study.zone import ZoneThresholds, find_zone
from benchmarks.headline.estimates import KEPT, WALK, Estimated
from benchmarks.headline.truth import Attacked

BASELINES = ("cut index", "D/d")
LOW_IS_PRIVATE = frozenset(
    ("fisher", "fisher_snr", "rc2", "rc2_per_dim", "rc2_ratio", "rate", "dcor", "fsinfo", "club", "info_nce",
     "label_leak", "label_leak_few", "ka_ssim", "linear_gain", "D/d", "score_ssim")
)  # fmt: skip

Needed = tuple[str, float, float]
"""Network, noise level, and the least width of the interval that holds an attack."""


@dataclass(frozen=True)
class Scored:
    """One attacked cut with everything predicted of it; `truth` is the lowest NMSE that any attack on it may reach."""

    net: str
    index: int
    noise: float
    truth: float
    error: float
    values: dict[str, float]
    low: float
    high: float
    doubt: float = 0.0
    """The least `NOISE_DOUBT` under which the interval holds the truth; 0 without noise."""


@dataclass(frozen=True)
class Ranked:
    """How an estimator ranks cuts.

    Attributes:
        name: column or baseline.
        spearman, kendall: within one net, mean over nets, without noise.
        pooled: Spearman over all nets, cuts and noise levels that have it.
        seconds: CPU time over all attacked cuts and nets, without noise; NaN for baselines.
    """

    name: str
    spearman: float
    kendall: float
    pooled: float
    seconds: float


def truth_of(rows: Sequence[Attacked]) -> dict[tuple[str, int, float], float]:
    """Lowest NMSE by (net, index, noise) that an attacker of this cut has been seen to reach.

    The server can run the rest of the model, so a bare cut leaks what a later bare cut leaks; and it can add noise, so
    a cut with little noise leaks what it leaks with more.
    """
    found = {(row.net, row.index, row.noise): row.nmse for row in rows}
    for net, index, noise in found:
        same = [v for (n, i, s), v in found.items() if n == net and i == index and s >= noise]
        later = [v for (n, i, s), v in found.items() if n == net and i > index and s == noise == 0]
        found[net, index, noise] = min(same + later)
    return found


def scored(truth: Sequence[Attacked], estimates: Sequence[Estimated], doubt: float = GAIN_DOUBT) -> list[Scored]:
    """Every attacked cut of which there are estimates; `doubt` widens the intervals without noise."""
    lowest, kept = truth_of(truth), {(e.net, e.index, e.noise): e.value for e in estimates if e.column == KEPT}
    values: dict[tuple[str, int, float], dict[str, float]] = {}
    for e in estimates:
        if e.column not in (KEPT, WALK) and not math.isnan(e.value):
            values.setdefault((e.net, e.index, e.noise), {})[e.column] = e.value
    found = []
    for net in dict.fromkeys(row.net for row in truth):
        mine = sorted((row for row in truth if row.net == net), key=lambda row: (row.noise, row.index))
        profile = profile_of(mine, [e for e in estimates if e.net == net], doubt)
        if profile is None:
            continue
        for row in mine:
            key = net, row.index, row.noise
            if (net, row.index, 0.0) in values and key in values:
                found.append(_scored(row, lowest[key], profile, values[key], 1.0 if row.noise == 0 else kept[key]))
    return found


def _scored(row: Attacked, truth: float, profile: Profile, values: dict[str, float], kept: float) -> Scored:
    position = [cut.name for cut in profile.cuts].index(row.cut)
    baselines = {"cut index": float(row.index), "D/d": row.elements / row.inputs}
    if math.isnan(profile["score"].values[position]):
        return Scored(row.net, row.index, row.noise, truth, row.stderr, baselines | values, math.nan, math.nan)
    bare = profile["score"].at(position)
    found = bare if row.noise == 0 else under_noise(bare, kept, 1.0, "")
    known = baselines | values | {"score": found.value}
    doubt = 0.0 if row.noise == 0 else _doubt(bare, kept, truth, row.stderr)
    return Scored(row.net, row.index, row.noise, truth, row.stderr, known, found.low, found.high, doubt)


def _doubt(bare: Estimate, kept: float, truth: float, error: float) -> float:
    """The least doubt, to a hundredth, whose interval holds the truth; infinite where 1, the most, does not."""
    for doubt in np.linspace(0, 1, 101):
        found = under_noise(bare, kept, 1.0, "", float(doubt))
        if found.low - NORMAL_90 * error <= truth <= found.high + NORMAL_90 * error:
            return float(doubt)
    return math.inf


def conformal_doubt(needed: Sequence[float], share: float = 0.9) -> float:
    """The doubt that a further attack needs no more of with this probability, if it is like these.

    The ⌈(m + 1)·share⌉-th smallest of m, one more than the plain quantile has: that one is too narrow where m is small
    (Vovk, Gammerman and Shafer 2005, section 2.2). The largest where there are too few.
    """
    rank = min(len(needed), math.ceil((len(needed) + 1) * share))
    return sorted(needed)[rank - 1]


def width_of(needed: Sequence[Needed]) -> float:
    """What nine in ten attacks need at the noise level that needs most."""
    levels = {noise for _, noise, _ in needed}
    return max(conformal_doubt([doubt for _, noise, doubt in needed if noise == level]) for level in levels)


def left_out_coverage(needed: Sequence[Needed]) -> float:
    """Share of attacks inside their interval when its width is taken from the other networks alone."""
    inside = []
    for net in dict.fromkeys(net for net, _, _ in needed):
        width = width_of([one for one in needed if one[0] != net] or [("", 0.0, 0.0)])
        inside += [doubt <= width for other, _, doubt in needed if other == net]
    return float(np.mean(inside)) if inside else math.nan


def gain_doubts(truth: Sequence[Attacked], estimates: Sequence[Estimated]) -> list[Needed]:
    """The least `GAIN_DOUBT`, to a twentieth, of every bare attack; infinite above 2."""
    found: dict[tuple[str, int], float] = {}
    for doubt in np.linspace(0, 2, 41):
        for row in scored(truth, estimates, float(doubt)):
            if row.noise == 0 and "score" in row.values:
                known = found.setdefault((row.net, row.index), math.inf)
                found[row.net, row.index] = min(known, float(doubt) if _held(row) else math.inf)
    return [(net, 0.0, doubt) for (net, _), doubt in found.items()]


def noise_doubts(rows: Sequence[Scored]) -> list[Needed]:
    """The least `NOISE_DOUBT` of every attack under noise; infinite above 1."""
    return [(row.net, row.noise, row.doubt) for row in rows if row.noise > 0 and "score" in row.values]


def _held(row: Scored) -> bool:
    """Whether the interval, widened by the truth's own error, holds it."""
    return row.low - NORMAL_90 * row.error <= row.truth <= row.high + NORMAL_90 * row.error


def profile_of(rows: Sequence[Attacked], estimates: Sequence[Estimated], doubt: float = GAIN_DOUBT) -> Profile | None:
    """Bare attacked cuts between two ends, with the columns the score is made of, and the score."""
    bare = [row for row in rows if row.noise == 0]
    known = {e.index for e in estimates if e.column == "ka_nmse"}
    bare = [row for row in bare if row.index in known]
    if not bare:
        return None
    spec = (TensorSpec((1,), "float32"),)
    inner = [
        Cut(place, row.cut, (TensorSpec((row.elements,), "float32"),), row.cut) for place, row in enumerate(bare, 1)
    ]
    cuts = (Cut(0, "input", spec), *inner, Cut(len(inner) + 1, "output", spec))
    columns = {}
    for name in ("ka_nmse", "linear_nmse", "kernel_nmse", "linear_gain", "ka_ssim"):
        parts = {e.cut: e for e in estimates if e.column == name and e.noise == 0}
        columns[name] = _column(name, [parts.get(cut.name) for cut in cuts])
    profile = Profile(cuts, columns)
    target = Target(rows[0].learnt)
    return profile.joined(Profile(cuts, score_columns(profile, learnt_of(rows), target, doubt)))


def learnt_of(rows: Sequence[Attacked]) -> int:
    """Samples that the cheap attacks learn from: three quarters of a panel of 1,500, or of half the pool."""
    pool = rows[0].scored * 4
    return round(0.75 * min(1500, pool // 2))


def _column(name: str, parts: Sequence[Estimated | None]) -> Column:
    def of(field: str) -> list[float]:
        return [math.nan if p is None else float(getattr(p, field)) for p in parts]

    return Column.of(
        name, "1", "high", of("value"), "measured", stderr=of("stderr"), low=of("low"), high=of("high"),
        why=["not measured here" if math.isnan(v) else "" for v in of("value")],
    )  # fmt: skip


def ranked(rows: Sequence[Scored], estimates: Sequence[Estimated]) -> list[Ranked]:
    """Every estimator and baseline, the best pooled one first."""
    names = dict.fromkeys(name for row in rows for name in row.values)
    return sorted((_ranked(name, rows, estimates) for name in names), key=lambda r: -np.nan_to_num(r.pooled, nan=-2))


def _ranked(name: str, rows: Sequence[Scored], estimates: Sequence[Estimated]) -> Ranked:
    sign = -1 if name in LOW_IS_PRIVATE else 1
    within: list[tuple[float, float]] = []
    for net in dict.fromkeys(row.net for row in rows):
        pairs = [(sign * r.values[name], r.truth) for r in rows if r.net == net and r.noise == 0 and name in r.values]
        if len(pairs) >= 3:
            x, y = zip(*pairs, strict=True)
            within.append((_correlation(stats.spearmanr, x, y), _correlation(stats.kendalltau, x, y)))
    every = [(sign * r.values[name], r.truth) for r in rows if name in r.values]
    pooled = _correlation(stats.spearmanr, *zip(*every, strict=True)) if len(every) > 2 else math.nan
    means = np.nanmean(within, 0) if within else (math.nan, math.nan)
    return Ranked(name, float(means[0]), float(means[1]), pooled, seconds_of(name, estimates))


def _correlation(function: object, x: Iterable[float], y: Iterable[float]) -> float:
    """0 for an estimator that says the same of every cut."""
    x, y = list(x), list(y)
    if len(set(x)) < 2:
        return 0.0
    return float(function(x, y).statistic)  # type: ignore[operator]


def seconds_of(name: str, estimates: Sequence[Estimated]) -> float:
    """CPU time of the estimator that has this column, bare cuts of all nets, its walk included; NaN where unknown."""
    owner = next((e.estimator for e in estimates if e.column == name), None)
    spent = [e.seconds for e in estimates if e.estimator == owner and e.noise == 0 and not math.isnan(e.seconds)]
    return sum(spent) if spent else math.nan


@dataclass(frozen=True)
class Accuracy:
    """How the score fared: absolute errors, coverage of its 90 % interval, zone edges within one block.

    Coverage of all cuts; of those without and of those with noise when their own network had no say in the widths.
    """

    cuts: int
    median: float
    p90: float
    coverage: float
    bare_left_out: float
    noisy_left_out: float
    edges: dict[str, tuple[str, str, bool]]


def accuracy(truth: Sequence[Attacked], estimates: Sequence[Estimated], rows: Sequence[Scored]) -> Accuracy:
    """Over all nets, cuts and noise levels; the interval is widened by the truth's own error."""
    have = [r for r in rows if "score" in r.values]
    errors = np.array([abs(r.values["score"] - r.truth) for r in have])
    nets = dict.fromkeys(row.net for row in truth)
    edges = {net: e for net in nets if (e := edges_of(net, truth, estimates)) is not None}
    return Accuracy(
        len(have), float(np.median(errors)), float(np.quantile(errors, 0.9)), float(np.mean([_held(r) for r in have])),
        left_out_coverage(gain_doubts(truth, estimates)), left_out_coverage(noise_doubts(rows)), edges,
    )  # fmt: skip


def edges_of(net: str, truth: Sequence[Attacked], estimates: Sequence[Estimated]) -> tuple[str, str, bool] | None:
    """Zone edge by the score, by the attack, and whether they are at most one attacked cut apart; "" is no zone."""
    mine = sorted((row for row in truth if row.net == net and row.noise == 0), key=lambda row: row.index)
    profile = profile_of(mine, [e for e in estimates if e.net == net])
    if profile is None or len(profile.cuts) < len(mine) + 2:
        return None
    limits, floor = ZoneThresholds(), mine[0].floor_ssim
    zone, _ = find_zone(profile, floor, limits)
    lowest = np.minimum.accumulate([row.nmse for row in mine][::-1])[::-1]
    similar = np.maximum.accumulate([row.ssim for row in mine][::-1])[::-1]
    private = (lowest > limits.min_nmse) & (np.isnan(similar) | (similar <= limits.ssim_limit(floor)))
    real = next((i for i, p in enumerate(private) if p), len(mine))
    guess = [row.cut for row in mine].index(zone.edge) if zone.edge else len(mine)
    return zone.edge, mine[real].cut if real < len(mine) else "", abs(real - guess) <= 1
