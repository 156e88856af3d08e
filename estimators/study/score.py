"""Leakage score: NMSE and SSIM that the strong attack is predicted to reach, from the cheap attacks at every cut.

The best cheap attack is carried on to the strong attack's number of samples along the learning curve a + b·n^(-1/2),
whose slope is measured by halving the samples of the linear attack. An attacker can run the rest of the model on what
it got, so a cut leaks at least what any later cut leaks: the score never falls with depth. Needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from advisor.columns import Column, Profile
from advisor.estimate import NORMAL_90
from advisor.estimators.study.far_samples import is_far, not_known, widened

STRONG_SAMPLES = 8000
GAIN_DOUBT = 0.55
"""The strong attack's gain over the cheap ones is within this share of the predicted one for nine in ten attacks.

From 70 attacks on bare cuts of nine networks; by those of the other networks alone the share is the same or 0.7, and
the intervals hold 93 % of the attacks left out (docs/leakage-score.md).
"""

ATTACKS = ("ka_nmse", "linear_nmse", "kernel_nmse")


@dataclass(frozen=True)
class Target:
    """The attack that is predicted.

    Attributes:
        samples: that it learns from.
    """

    samples: int = STRONG_SAMPLES


def score_columns(
    profile: Profile, learnt_from: int, target: Target | None = None, doubt: float = GAIN_DOUBT,
    bracketed: np.ndarray | None = None,
) -> dict[str, Column]:  # fmt: skip
    """`score` and `score_ssim`.

    Args:
        profile: with the columns of at least one attack.
        learnt_from: samples those attacks learnt from.
        target: the attack to predict; None for the `strong` one.
        doubt: how far its gain over the cheap attacks may be from the predicted one, as a share of that.
        bracketed: `[cuts]` where the quick attack was not run for want of time: the cuts before and after, where it
            was, are the ends of the interval there, as neither quantity turns back with depth.
    """
    target = target or Target()
    columns: dict[str, Column] = {}
    between = np.zeros(len(profile.cuts), dtype=bool) if bracketed is None else bracketed
    attacks = [profile[name] for name in ATTACKS if name in profile]
    if attacks:
        columns["score"] = _score(profile, attacks, learnt_from, target.samples, doubt, between)
    if "ka_ssim" in profile:
        columns["score_ssim"] = _similarity(profile, columns.get("score"), between)
    return columns


def said_unknown(profile: Profile, learnt_from: int, samples: int = STRONG_SAMPLES) -> str:
    """A sentence where the score is not known for want of samples, and how many would do; "" where it is known.

    Args:
        profile: with `score`, and what it is made of.
        learnt_from: samples that the cheap attacks learnt from.
        samples: of the attack that is predicted.
    """
    if "score" not in profile:
        return ""
    unsure = not_known(profile, (profile["score"].low, profile["score"].high), learnt_from, samples)
    return unsure and f"What a strong attack of {samples:,} samples finds is {unsure}."


def remaining_gain(learnt_from: int, samples: int = STRONG_SAMPLES) -> float:
    """Gain from here to the strong attack's samples, in units of the gain of the last doubling."""
    if learnt_from >= samples:
        return 0.0
    return (1 - math.sqrt(learnt_from / samples)) / (math.sqrt(2) - 1)


def _score(
    profile: Profile, attacks: list[Column], learnt_from: int, samples: int, doubt: float, between: np.ndarray
) -> Column:
    values = np.vstack([a.values for a in attacks])
    measured = ~np.isnan(values).all(0)
    filled = np.where(np.isnan(values), np.inf, values)
    winner = filled.argmin(0)
    best = np.where(measured, filled.min(0), 1.0)
    error = np.vstack([np.nan_to_num(a.stderr) for a in attacks])[winner, np.arange(len(best))]
    gain = _relative_gain(profile) * remaining_gain(learnt_from, samples) * best
    value = np.clip(best - gain, 0, 1)
    low = np.clip(best - (1 + doubt) * gain - NORMAL_90 * error, 0, 1)
    high = np.clip(best - (1 - doubt) * gain + NORMAL_90 * error, 0, 1)
    if is_far(learnt_from, samples):
        low, high = widened(profile, best, error, (low, high), learnt_from, samples)
    ends = _never_falling(np.where(measured & ~between, [value, low, high], np.nan))
    value, low, high = _never_falling(
        np.where(measured, _bracketed(ends, between, np.array([value, low, high])), np.nan)
    )
    why = [_reason(attacks, i) if not measured[i] else "" for i in range(len(best))]
    unsure = not_known(profile, (low, high), learnt_from, samples)
    return Column.of(
        "score", "1", "high", value, "estimated", stderr=(high - low) / (2 * NORMAL_90), low=low, high=high,
        method=f"predicted NMSE of the strong attack ({samples:,} samples) from "
        f"{', '.join(a.name for a in attacks)} with {learnt_from:,} samples, along the learning curve{_said(between)}"
        f"{unsure and f'; {unsure}'}",
        why=why,
    )  # fmt: skip


def _relative_gain(profile: Profile) -> np.ndarray:
    """The last doubling's gain as a share of linear NMSE; 0 where it was not measured."""
    if "linear_gain" not in profile or "linear_nmse" not in profile:
        return np.zeros(len(profile.cuts))
    share = profile["linear_gain"].values / np.maximum(profile["linear_nmse"].values, 1e-9)
    clipped: np.ndarray = np.clip(np.nan_to_num(share), 0, 0.5)
    return clipped


def _similarity(profile: Profile, score: Column | None, between: np.ndarray) -> Column:
    """SSIM of the quick attack, its distance from 1 shrunk as the root of the error is; never rising with depth."""
    quick = profile["ka_ssim"]
    left, least = np.ones((2, len(quick)))
    if score is not None and "ka_nmse" in profile:
        error = np.maximum(np.nan_to_num(profile["ka_nmse"].values, nan=1.0), 1e-9)
        left, least = (np.sqrt(np.clip(np.nan_to_num(v, nan=1.0) / error, 0, 1)) for v in (score.values, score.low))
    value = 1 - (1 - quick.values) * left
    high = np.clip(1 - (1 - quick.high) * least, -1, 1)
    ends = _never_falling(np.where(between, np.nan, -np.array([value, high, quick.low])))
    value, high, low = -_bracketed(ends, between)
    return Column.of(
        "score_ssim", "1", "low", value, "estimated", stderr=(high - low) / (2 * NORMAL_90), low=low, high=high,
        method=f"predicted SSIM of the strong attack from the quick one{_said(between)}",
        why=[why if math.isnan(v) else "" for why, v in zip(quick.why, value, strict=True)],
    )  # fmt: skip


def _bracketed(ends: np.ndarray, between: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """Value, low and high `[3, cuts]`: where no attack was run between the nearest cuts, by depth, and both as ends.

    Args:
        ends: `[3, cuts]` never falling, NaN where nothing was measured.
        between: `[cuts]` where to fill in.
        own: `[3, cuts]` what weaker attacks found there: the stronger one would have found at least as much.
    """
    filled, known = ends.copy(), np.flatnonzero(~np.isnan(ends[0]))
    for here in np.flatnonzero(between):
        before, after = known[known < here], known[known > here]
        if len(before) and len(after):
            (a, b) = ends[:, before[-1]], ends[:, after[0]]
            low, high = a[1], b[2] if own is None else max(a[1], min(b[2], own[2, here]))
            share = (here - before[-1]) / (after[0] - before[-1])
            value = (1 - share) * a[0] + share * b[0]
            value = value if own is None else min(value, own[0, here])
            filled[:, here] = np.clip(value, low, high), low, high
    return filled


def _said(between: np.ndarray) -> str:
    if not between.any():
        return ""
    return (
        f"; at {int(between.sum())} cuts that were not attacked, to keep to the time, between the attacked neighbours"
    )


def _never_falling(values: np.ndarray) -> np.ndarray:
    """Each value `[..., cuts]` replaced by the lowest at or after it; NaN stays NaN and is passed over."""
    filled = np.where(np.isnan(values), np.inf, values)
    lowest = np.minimum.accumulate(filled[..., ::-1], axis=-1)[..., ::-1]
    return np.where(np.isnan(values), np.nan, lowest)


def _reason(attacks: list[Column], index: int) -> str:
    return next((a.why[index] for a in attacks if a.why[index]), "no attack was run")
