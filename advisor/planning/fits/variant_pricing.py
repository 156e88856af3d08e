"""What a trained plan costs and leaks: its base's columns and what it adds, its own accuracy, an attack on its payload.

The estimators that a fit was trained against say nothing of its variant: where the score rests on one of them, the
quick attack stands in its place. A trained plan is never priced as a level of noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from advisor.batches import first_scores
from advisor.columns import Profile
from advisor.cuts import Cut
from advisor.defenses import Defense, GaussianNoise, NoDefense, parse_defense
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.estimators.noise import NoiseCurve
from advisor.estimators.study.score import ATTACKS as SCORED_BY
from advisor.fitted import CurvePoint, FittedDefense
from advisor.payload import Payload
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.judging.accuracy import Accuracy
from advisor.planning.shared_study.estimates_as_json import as_estimates, as_json
from advisor.planning.shared_study.results import Task, digest_of
from advisor.plans import Plan
from advisor.profilers.halves.variant_profile import variant_profile
from advisor.progress import Progress, silence
from advisor.variant import Variant

NOTHING_LEAKS = {"score": 1.0, "score_ssim": 0.0}


@dataclass(frozen=True, eq=False)
class VariantEvaluator(PlanEvaluator):
    """Prices the plans of one fit; make it by `of_fit`.

    Attributes:
        base: prices the plans of the model that the variant was made of.
        fitted: what is said of the fit.
    """

    base: PlanEvaluator = None  # type: ignore[assignment]  # a dataclass's defaults come last; `of_fit` sets it
    fitted: FittedDefense = None  # type: ignore[assignment]  # as above

    @property
    def variant(self) -> Variant:
        """What was fitted."""
        assert isinstance(self.graph, Variant)
        return self.graph

    @property
    def payload(self) -> Cut:
        """What is sent."""
        return self.variant.payload

    @property
    def scored_by_attack(self) -> bool:
        """Whether the score rests on what the fit was trained against."""
        return not set(self.fitted.trained_against).isdisjoint(SCORED_BY)

    @cached_property
    def rows(self) -> Tensor:
        """As of the base: a drop is paired over the same samples."""
        return self.base.rows

    @cached_property
    def undefended(self) -> Accuracy:
        """The base's own answers: a variant is held against them."""
        return self.base.undefended

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """All at once: a fit takes minutes, its accuracy seconds."""
        return (len(self.rows),)

    def accuracy(self, cut: Cut, defense: Defense, rows: int | None = None) -> dict[str, Estimate]:
        """By running the halves; without a payload defense too, as encoder and decoder change the answers."""
        if self.undefended.why_not:
            return self.undefended.undefended()
        return self.undefended.of(Payload.of(self.graph, cut, defense).scores(self.activations.at(cut), self.seed))

    def leakage(self, cut: Cut, defense: Defense) -> dict[str, Estimate]:
        """`score` and `score_ssim` by the cheap estimators on what is sent, else by the quick attack."""
        return self.by_attack(cut, defense) if self.scored_by_attack else self.measured_leakage(cut, defense)

    @property
    def is_bare(self) -> bool:
        """The base's columns are not of the variant."""
        return False

    @property
    def scored_by(self) -> str:
        """The fit: what it was trained against says nothing of it."""
        return self.fitted.digest

    @property
    def scores(self) -> list[str]:
        """As of the base."""
        return self.base.scores

    def by_attack(self, cut: Cut, defense: Defense, progress: Progress = silence) -> dict[str, Estimate]:
        """`score` and `score_ssim` that the quick attack reaches; NaN with its reason where it fails."""
        plan = self.plan(cut, defense, {})
        try:
            found = self.attack(plan, "quick", progress)
        except AdvisorError as error:
            missing = Estimate(float("nan"), source="measured", method=f"the quick attack: {error.problem}")
            return {"score": missing, "score_ssim": missing}
        return {"score": _named(found.scores["nmse"]), "score_ssim": _named(found.scores["ssim"])}

    def guarantee(self, cut: Cut, defense: Defense) -> dict[str, Estimate]:
        """None: the base's derivatives are not the encoder's."""
        return {}

    def curve(self, cut: Cut) -> NoiseCurve | None:
        """None: a trained plan is never priced as noise."""
        return None

    def plan(self, cut: Cut, defense: Defense, predicted: dict[str, Estimate]) -> Plan:
        """A plan that says what was fitted."""
        return dataclasses.replace(super().plan(cut, defense, predicted), fitted=self.fitted)

    def alone(self) -> Plan:
        """The plan of a local head: the edge answers, and nothing is sent."""
        last, why = self.graph.cuts[-1], "nothing is sent"
        predicted = self.costs(last, NoDefense())
        judged = self.undefended
        predicted |= judged.undefended() if judged.why_not else judged.of(first_scores(self.graph, self.evaluation))
        predicted |= {name: Estimate.exact(best, "1", "measured", why) for name, best in NOTHING_LEAKS.items()}
        predicted["bytes"] = Estimate.exact(0, "B", "measured", why)
        return Plan(
            (last,), NoDefense(), predicted, kind="local-head", inputs=self.graph.inputs, graph=self.graph,
            fitted=self.fitted,
        )  # fmt: skip

    # ---- accuracy against leakage --------------------------------------------------------------------------------

    def noise(self, relative: float) -> Defense:
        """Noise of so much of the payload's root mean square; none for 0."""
        if self.fitted.recipe.get("chain") == "reparam":  # the method draws by itself
            return parse_defense("reparam")
        sigma = relative * float(self.fitted.recipe.get("payload_rms", 1.0))
        return GaussianNoise(sigma) if sigma > 0 else NoDefense()

    def drop(self, relative: float) -> float:
        """Accuracy drop at one level of noise, measured once by the workers of a study."""
        noise = self.noise(relative)
        told = digest_of("drop", self._told(self.payload, noise, self.sizes[-1]))  # an evaluation's is another result
        task = Task("accuracy", told, lambda: as_json(self.accuracy(self.payload, noise)))
        return as_estimates(task, self.results.one(task))["accuracy_drop"].value

    def most_noise(self, allowed: float, low: float, high: float, steps: int) -> float:
        """The most noise, of a range, whose accuracy drop is at most `allowed`: the low end where none is."""
        if self.drop(high) <= allowed:
            return high
        for _ in range(steps):
            middle = (low + high) / 2
            low, high = (middle, high) if self.drop(middle) <= allowed else (low, middle)
        return low

    def plans(self, levels: Sequence[float], progress: Progress = silence) -> tuple[Plan, ...]:
        """One plan a level of noise, each with the whole curve."""
        found = []
        for done, relative in enumerate(levels, start=1):
            found.append((relative, self.evaluate(self.payload, self.noise(relative))))
            progress(done / len(levels))
        fitted = dataclasses.replace(self.fitted, curve=tuple(_point(r, plan) for r, plan in found))
        return tuple(dataclasses.replace(plan, fitted=fitted) for _, plan in found)


def of_fit(base: PlanEvaluator, variant: Variant, fitted: FittedDefense) -> VariantEvaluator:
    """What prices the plans of one fit."""
    told = {f.name: getattr(base, f.name) for f in dataclasses.fields(PlanEvaluator)}
    tail = None if base.tail is None else variant.cut(base.tail.name)
    profile = Profile(variant.cuts, variant_profile(variant, base.profile).columns, base.profile.provenance)
    return VariantEvaluator(**told | {"graph": variant, "profile": profile, "tail": tail}, base=base, fitted=fitted)


def for_plan(base: PlanEvaluator, plan: Plan) -> PlanEvaluator:
    """What prices and attacks a plan: the base's evaluator, or that of its fit."""
    if plan.fitted is None or not isinstance(plan.graph, Variant):
        return base
    return of_fit(base, plan.graph, plan.fitted)


def _named(found: Estimate) -> Estimate:
    return dataclasses.replace(found, source="measured", method="the quick attack on what is sent")


def _point(relative: float, plan: Plan) -> CurvePoint:
    predicted = plan.predicted
    return CurvePoint(
        plan.defense.noise, relative, predicted["accuracy_drop"], predicted["score"], predicted["score_ssim"]
    )
