"""The published criterion for a golden partition zone, literally (arXiv 2506.15412). Needs no torch.

Kept to be compared with: R_c² sums over dimensions, so its largest drops sit where a network halves its width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from advisor.columns import Column, Profile
from advisor.cuts import Cut
from advisor.estimate import NORMAL_90


def block_cuts(cuts: Sequence[Cut], fewest: int = 1) -> list[int]:
    """Indices of the cuts that close a block; every cut between the ends where fewer than `fewest` do."""
    inner = cuts[1:-1]
    closing = [cut.index for cut in inner if cut.block]
    return closing if len(closing) >= fewest else [cut.index for cut in inner]


def published_zone(profile: Profile, flat: float = 0.2) -> tuple[tuple[str, ...], dict[str, Column]]:
    """The criterion of arXiv 2506.15412 as its code has it, on the cuts that close a block.

    r_l is R_c² at listed cut l, drop_l = (r_{l-1} - r_l) / r_{l-1}. The destination of the largest drop is returned;
    that of the second largest too, unless every drop between the two is flat (always so when they are neighbours).

    Returns:
        Names of the cuts returned, the largest drop first, and the columns `rc2_drop` and `in_gpz`.
    """
    if "rc2" not in profile:
        return (), _unmeasured(profile, "R_c² was not measured")
    listed = block_cuts(profile.cuts)
    drops, errors, why = _drops(profile["rc2"], listed)
    ranked = sorted((i for i in listed if not math.isnan(drops[i])), key=lambda i: -drops[i])
    chosen = ranked[:1]
    if len(ranked) > 1:
        between = [i for i in listed if min(ranked[:2]) < i < max(ranked[:2])]
        chosen = ranked[:1] if all(abs(drops[i]) < flat for i in between) else ranked[:2]
    member = np.array([float(cut.index in chosen) for cut in profile.cuts])
    method = "relative decrease of R_c² from the previous cut that closes a block; published criterion"
    unknown = [] if ranked else ["the published criterion needs two cuts with R_c² above zero"] * len(member)
    half = NORMAL_90 * errors
    columns = {
        "rc2_drop": Column.of(
            "rc2_drop", "1", "high", drops, "estimated",
            stderr=errors, low=drops - half, high=drops + half, method=method, why=why,
        ),
        "in_gpz": Column.of(
            "in_gpz", "1", "high", member if ranked else member * math.nan, "estimated",
            method=f"destination of the largest drops of R_c², flat below {flat:g}; published criterion", why=unknown,
        ),
    }  # fmt: skip
    return tuple(profile.cuts[i].name for i in chosen), columns


def _drops(radius: Column, listed: list[int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    drops, errors = np.full((2, len(radius)), math.nan)
    why = ["not between two cuts that close a block"] * len(radius)
    for before, here in itertools.pairwise(listed):
        old, new = radius.at(before), radius.at(here)
        if math.isnan(old.value) or math.isnan(new.value):
            why[here] = "R_c² was not measured at this cut or at the one before"
        elif old.value <= 0:
            why[here] = "R_c² is zero at the cut before: there is nothing to fall from"
        else:
            drops[here], why[here] = (old.value - new.value) / old.value, ""
            # The two radii share their samples and rise and fall together: taken as independent, the error is cautious.
            errors[here] = math.hypot(new.stderr, new.value / old.value * old.stderr) / old.value
    return drops, errors, why


def _unmeasured(profile: Profile, reason: str) -> dict[str, Column]:
    nothing = [math.nan] * len(profile.cuts)
    return {
        name: Column.of(name, "1", "high", nothing, "estimated", stderr=nothing, why=[reason] * len(nothing))
        for name in ("rc2_drop", "in_gpz")
    }
