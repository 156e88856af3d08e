"""What a plan leaks: predicted by the noise curve, or measured on what is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from advisor.columns import Profile
from advisor.cuts import Cut
from advisor.defenses import CutFacts, Defense
from advisor.estimate import Estimate
from advisor.estimators.noise import NOISE_DOUBT, NoiseCurve, under_noise
from advisor.estimators.spectrum import spectrum_bound
from advisor.estimators.study.payload_leakage import leakage_on
from advisor.estimators.study.study_samples import StudySamples, study_samples
from advisor.panel import panel_size
from advisor.payload import Payload
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.evaluating.plan_accuracy import PlanAccuracy


@dataclass(frozen=True, eq=False)
class PlanLeakage(PlanAccuracy):
    """Predicts what a strong attack is left with."""

    def curve(self, cut: Cut) -> NoiseCurve | None:
        """How linear inversion at this cut suffers from noise; None where it could not be measured."""
        return self.study.curves.get(cut.name)

    def facts(self, cut: Cut) -> CutFacts:
        """What a defense may ask about a cut."""
        return CutFacts(cut, self.profile["fisher"].at(cut).value if "fisher" in self.profile else math.nan)

    def leakage(self, cut: Cut, defense: Defense) -> dict[str, Estimate]:
        """`score` and `score_ssim` of what is sent: by the noise curve where the defense is as good as noise."""
        if defense.identity:
            return self.under_noise(cut, 0.0)
        level = defense.noise_equivalent(self.activation(cut))
        return self.measured_leakage(cut, defense) if level is None else self.under_noise(cut, level)

    @property
    def scores(self) -> list[str]:
        """Which predictions of the strong attack were made at all."""
        return [name for name in ("score", "score_ssim") if name in self.profile]

    def measured_leakage(self, cut: Cut, defense: Defense, every: bool = False) -> dict[str, Estimate]:
        """`score` and `score_ssim` by the cheap estimators, run on what is sent.

        Args:
            cut, defense: of the plan.
            every: with as many samples as fit there, and not those alone that one pass over all cuts holds.
        """
        samples = self._samples_for(cut) if every else self.study.samples
        found = leakage_on(Payload.of(self.graph, cut, defense), samples, only=self.scores, seed=self.seed)
        return {name: _value(found, name, cut) for name in ("score", "score_ssim")}

    def _samples_for(self, cut: Cut) -> StudySamples:
        private, own = self.roles["private"], self.roles["attacker"]
        if panel_size(self.graph, len(private) + len(own), cut) <= len(self.study.targets.labels):
            return self.study.samples
        unread = [torch.zeros(len(part), dtype=torch.long) for part in (private, own)]  # the score has no labels
        return study_samples(self.graph, private.x, unread[0], own.x, unread[1], self.seed, cut)

    def under_noise(self, cut: Cut, sigma: float) -> dict[str, Estimate]:
        """`score` and `score_ssim` under noise: of what the bare attack explains, the share linear inversion keeps."""
        score, similar = (_value(self.profile, name, cut) for name in ("score", "score_ssim"))
        if sigma == 0 or math.isnan(score.value):
            return {"score": score, "score_ssim": similar}
        curve = self.curve(cut)
        if curve is None:
            missing = Estimate(math.nan, source="estimated", method="noise could not be priced at this cut")
            return {"score": missing, "score_ssim": missing}
        kept, floor = curve.kept(sigma), self.study.baseline_ssim
        method = f"{score.method}; of what the bare attack explains, {kept:.0%} survives the defense's noise"
        return {
            "score": under_noise(score, kept, 1.0, method),
            "score_ssim": under_noise(similar.mapped(lambda v: max(v, floor), method), kept, floor, method),
        }

    def also_asked(self, cut: Cut, defense: Defense, known: Mapping[str, Estimate]) -> dict[str, Estimate]:
        """Leakage columns that a requirement or the objective rests on and that are not known yet, of what is sent."""
        names = [name for name in self.also if name not in known]
        if defense.identity and self.is_bare:
            return {name: _value(self.profile, name, cut) for name in names}
        if not names:
            return {}
        found = leakage_on(Payload.of(self.graph, cut, defense), self.study.samples, only=names, seed=self.seed)
        return {name: _value(found, name, cut) for name in names}

    @property
    def is_bare(self) -> bool:
        """Whether the leakage columns are of this graph."""
        return True

    def guarantee(self, cut: Cut, defense: Defense) -> dict[str, Estimate]:
        """`mse_bound` under Gaussian noise: no attacker's error per element is below it; nothing without such noise."""
        tangents = self.study.grams.get(cut.name)
        if defense.guaranteed_variance == 0 or tangents is None or tangents.problem:
            return {}
        return {"mse_bound": spectrum_bound(tangents, defense.guaranteed_variance)}

    def allowed_share(self, cut: Cut, limits: LeakageLimits) -> float:
        """Share of what the bare attack explains that may survive for the limits to be met; 1 when none need go."""
        shares, floor = [1.0], self.study.baseline_ssim
        score, similar = (_value(self.profile, name, cut) for name in ("score", "score_ssim"))
        if limits.min_nmse is not None and score.low < 1:
            shares.append((1 - limits.min_nmse) / (1 - score.low))
        if limits.max_ssim is not None and similar.high > floor:
            shares.append((limits.max_ssim - floor) / (similar.high - floor))
        # the interval's unfavourable end is what must meet the limits
        return float(max(0.0, min(shares)) ** (1 / (1 - NOISE_DOUBT)))


def _value(profile: Profile, name: str, cut: Cut) -> Estimate:
    """A column's value at a cut; NaN with its reason where it was not measured."""
    if name not in profile:
        return Estimate(math.nan, source="estimated", method="not measured")
    column = profile[name]
    estimate = column.at(cut)
    if math.isnan(estimate.value):
        return Estimate(math.nan, source="estimated", method=column.why[column.row(cut)])
    return estimate
