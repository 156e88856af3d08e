"""The score where the strong attack has many times the samples at hand: how far it may be off, and how many would do.

One halving tells a slope; it does not tell how it goes on over many doublings, least of all where so few samples taught
the attack nothing yet. Every learning curve that the halving leaves possible is then in the interval. Needs no torch.
"""

from __future__ import annotations

import math

import numpy as np

from advisor.columns import Profile
from advisor.estimate import NORMAL_90
from advisor.estimators.statistics.learning_curves import TOLD, LearningCurve, Point

FAR = 12.0
"""Times as many samples as were learnt from, beyond which the halving's slope alone is not trusted."""

Ends = tuple[np.ndarray, np.ndarray]


def is_far(learnt_from: int, samples: int) -> bool:
    """Whether an attack with `samples` is out of reach of one that learnt from so many."""
    return samples > FAR * learnt_from


def widened(profile: Profile, best: np.ndarray, error: np.ndarray, ends: Ends, learnt_from: int, samples: int) -> Ends:
    """Low and high `[cuts]`, with all that the learning curve of the linear attack leaves possible.

    Args:
        profile: with `linear_nmse` and `linear_gain`; without, everything below the best attack is possible.
        best, error: `[cuts]` NMSE of the best cheap attack and its standard error.
        ends: as the slope alone has them.
        learnt_from: samples of these attacks.
        samples: of the attack that is predicted.
    """
    low, high = (end.copy() for end in ends)
    for index, left in enumerate(best):
        curve = _curve(profile, index, learnt_from)
        least, most = 0.0, 1.0
        if curve is not None:
            found, now = curve.at(samples), max(1e-9, min(1.0, curve.points[-1].nmse))
            least, most = found.low / now, min(1.0, found.high / now)
        low[index] = min(low[index], max(0.0, left * least - NORMAL_90 * error[index]))
        high[index] = max(high[index], min(1.0, left * most + NORMAL_90 * error[index]))
    return low, high


def not_known(profile: Profile, ends: Ends, learnt_from: int, samples: int) -> str:
    """At how many cuts the interval is too wide for an answer, and how many samples would do; "" where at none."""
    wide = np.flatnonzero(ends[1] - ends[0] > TOLD)
    if not len(wide) or not is_far(learnt_from, samples):
        return ""
    curve = _curve(profile, int(wide[len(wide) // 2]), learnt_from)  # of the one in the middle
    enough = samples if curve is None else curve.enough(samples)
    enough = samples if enough <= learnt_from else enough
    return (
        f"not known at {len(wide)} of {len(profile.cuts)} cuts with {learnt_from:,} samples of the attacker "
        f"(intervals wider than {TOLD:g}); {enough:,} would do"
    )


def _curve(profile: Profile, index: int, learnt_from: int) -> LearningCurve | None:
    """Of the linear attack with half of the samples and with all; None where that was not measured."""
    if "linear_gain" not in profile or "linear_nmse" not in profile or learnt_from < 4:
        return None
    linear, gain = profile["linear_nmse"], float(profile["linear_gain"].values[index])
    value, spread = float(linear.values[index]), float(linear.stderr[index])
    if not (math.isfinite(value) and math.isfinite(gain)):
        return None
    spread = spread if math.isfinite(spread) else 0.0
    return LearningCurve((Point(learnt_from // 2, value + gain, spread), Point(learnt_from, value, spread)))
