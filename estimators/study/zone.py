"""The golden partition zone: where depth alone hides the input. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from advisor.columns import Column, Profile
from advisor.errors import AdvisorError
from advisor.estimators.study.gpz import block_cuts, published_zone

_FEWEST_BLOCKS = 3  # with fewer, an edge between blocks says too little


@dataclass(frozen=True)
class ZoneThresholds:
    """What makes a cut private enough.

    Attributes:
        min_nmse: our zone starts where the 90 % interval of `score` lies above this; 0 to 1.
        max_ssim_share: share of the gap between the mean image's SSIM and 1 that an attacker may close; 0 to 1.
        flat: the published criterion calls a relative change of R_c² below this flat.
    """

    min_nmse: float = 0.7
    max_ssim_share: float = 0.25
    flat: float = 0.2

    def __post_init__(self) -> None:
        for name in ("min_nmse", "max_ssim_share", "flat"):
            if not 0 <= getattr(self, name) <= 1:
                raise AdvisorError(
                    f"The zone threshold {name} is {getattr(self, name)}.", "It must lie between 0 and 1."
                )

    def ssim_limit(self, baseline: float) -> float:
        """Highest SSIM an attacker may reach where the mean image itself scores `baseline`."""
        return baseline + self.max_ssim_share * (1 - baseline)

    def limits(self, baseline: float) -> dict[str, float]:
        """The limits by requirement; SSIM has no say where the mean image's, `baseline`, is NaN."""
        return {"min_nmse": self.min_nmse} | ({} if math.isnan(baseline) else {"max_ssim": self.ssim_limit(baseline)})


@dataclass(frozen=True)
class Zone:
    """Where the input is hidden by depth alone, by our criterion and by the published one.

    Attributes:
        cuts: names of the cuts in our zone, from its edge to the last before the output; may be empty.
        edge: its first cut, surely inside: the whole 90 % interval meets the thresholds; "" when there is no zone.
        edge_low: first cut that may be inside: one end of the interval meets the thresholds; "" when none may.
        edge_high: last end of the edge's interval, which is the edge itself; "" when there is no zone.
        published: names of the cut or cuts that the published criterion returns, the largest drop first.
        sentences: what was found and how, one sentence each.
    """

    cuts: tuple[str, ...]
    edge: str
    edge_low: str
    edge_high: str
    published: tuple[str, ...]
    sentences: tuple[str, ...]


def find_zone(
    profile: Profile, baseline_ssim: float = math.nan, thresholds: ZoneThresholds | None = None
) -> tuple[Zone, dict[str, Column]]:
    """Both zones, from the columns `rc2`, `score` and `score_ssim`.

    Args:
        profile: with those columns; one that is missing leaves its zone empty and its columns NaN, with the reason.
        baseline_ssim: SSIM of the mean image against the inputs; NaN where inputs are not images, and SSIM has no say.
        thresholds: what counts as private.

    Returns:
        The zone, and the columns `rc2_drop`, `in_gpz`, `in_zone`.
    """
    thresholds = thresholds or ZoneThresholds()
    published, columns = published_zone(profile, thresholds.flat)
    sure, maybe = _qualifying(profile, baseline_ssim, thresholds)
    candidates = block_cuts(profile.cuts, _FEWEST_BLOCKS)
    edge = next((i for i in candidates if sure[i]), None)
    first = next((i for i in candidates if maybe[i]), None)
    columns["in_zone"] = _membership(profile, edge, first)
    names = [cut.name for cut in profile.cuts]
    inside = tuple(name for name, value in zip(names, columns["in_zone"].values, strict=True) if value == 1)
    start, earliest = ("" if i is None else names[i] for i in (edge, first))
    sentences = (
        *_our_sentences(profile, edge, first, sure, baseline_ssim, thresholds),
        _published_sentence(published, "rc2" in profile),
    )
    return Zone(inside, start, earliest, start, published, sentences), columns


def _qualifying(profile: Profile, baseline: float, thresholds: ZoneThresholds) -> tuple[list[bool], list[bool]]:
    """For each cut, whether all of its interval meets the thresholds, and whether any of it does."""
    if "score" not in profile:
        return [False] * len(profile.cuts), [False] * len(profile.cuts)
    score = profile["score"]
    sure, maybe = score.low > thresholds.min_nmse, score.high > thresholds.min_nmse
    if not math.isnan(baseline):
        ssim, limit = profile["score_ssim"], thresholds.ssim_limit(baseline)
        sure, maybe = sure & (ssim.high <= limit), maybe & (ssim.low <= limit)
    return list(sure), list(maybe)


def _membership(profile: Profile, edge: int | None, first: int | None) -> Column:
    """1 from the edge to the last cut before the output; `high` is 1 where a cut may belong; NaN where not measured."""
    score = profile["score"].values if "score" in profile else np.full(len(profile.cuts), math.nan)
    values, high = np.zeros((2, len(profile.cuts)))
    inner = np.arange(1, len(profile.cuts) - 1)
    values[inner] = inner >= (math.inf if edge is None else edge)
    high[inner] = inner >= (math.inf if first is None else first)
    unknown = np.isin(np.arange(len(values)), inner) & np.isnan(score)
    values[unknown] = high[unknown] = math.nan
    reason = "the score was not measured" if "score" not in profile else "the score was not measured at this cut"
    return Column.of(
        "in_zone", "1", "high", values, "estimated", stderr=np.full(len(values), math.nan), low=values, high=high,
        method="from the first block whose score interval meets the thresholds to the last cut before the output",
        why=[reason if u else "" for u in unknown],
    )  # fmt: skip


def _our_sentences(
    profile: Profile, edge: int | None, first: int | None, sure: list[bool], baseline: float, limits: ZoneThresholds
) -> list[str]:
    if "score" not in profile:
        return ["Our zone is unknown: the leakage score was not measured."]
    wanted = f"the 90 % interval of the predicted NMSE lies above {limits.min_nmse:g}"
    if not math.isnan(baseline):
        wanted += f" and that of the predicted SSIM at or below {limits.ssim_limit(baseline):.2f}"
    names = [cut.name for cut in profile.cuts]
    if edge is None:
        said = [f"There is no zone: at no cut {wanted}."]
        return said + (
            [f"It may start at {names[first]}, where part of the interval does."] if first is not None else []
        )
    said = [f"The zone starts at {names[edge]}, the first cut where {wanted}."]
    if first is not None and first < edge:
        said.append(f"It may start as early as {names[first]}, where part of the interval does.")
    weak = [names[i] for i in range(edge, len(names) - 1) if not sure[i]]
    if weak:
        said.append(f"Deeper cuts that do not meet this by themselves: {', '.join(weak)}.")
    return said + _label_sentence(profile, edge)


def _label_sentence(profile: Profile, edge: int) -> list[str]:
    if "label_leak" not in profile:
        return []
    here = profile["label_leak"].at(edge)
    end = profile["label_leak"].at(len(profile.cuts) - 1)
    if math.isnan(here.value) or math.isnan(end.value):
        return []
    return [
        f"Depth hides the input, not the prediction: at {profile.cuts[edge].name} a linear probe reads the label "
        f"in {here.value:.0%} of cases, at the output in {end.value:.0%}."
    ]


def _published_sentence(published: tuple[str, ...], measured: bool) -> str:
    if not published:
        return f"The published criterion names no cut{'' if measured else ': R_c² was not measured'}."
    return f"The published criterion (largest relative drop of R_c²) names {' and '.join(published)}."
