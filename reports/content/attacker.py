"""What an attacker gets of the input, in a comparison, in numbers, and beside chance."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from advisor.advice import Advice
from advisor.estimate import Estimate
from advisor.plans import Evidence, Plan
from advisor.reports.content import words
from advisor.reports.content.chance import SHARES, chance
from advisor.reports.content.comparisons import comparison_of, thumbnail, yardstick
from advisor.reports.content.learning_curve import samples_needed
from advisor.reports.content.quantities import NOT_MEASURED, quantity, show, show_estimate
from advisor.reports.content.text import clean

SIZED = re.compile(r"images reconstructed at \((\d{1,6}), (\d{1,6})\) pixels")
RUN = ("nmse", "ssim", *SHARES)
BESIDE = {
    "less": "which shows more of it than an attacker gets",
    "more": "which shows less of it than an attacker gets",
    "about": "about what an attacker gets of it",
}
"""First word of a comparison -> what the thumbnail shows that is drawn beside it."""


@dataclass(frozen=True)
class Attacker:
    """What an attacker gets.

    Attributes:
        gets: the comparison, as a sentence.
        thumbnail: side of the thumbnail that it is compared with; 0 where it is compared with none.
        beside: what that thumbnail shows, beside what an attacker gets.
        predicted: what a strong attack is predicted to reach; "" where nothing is sent.
        run: what the attacks that were run on this plan reached, one sentence each, beside chance; then what
            an attacker of other numbers of samples would, where it was asked.
        guarantee: what no attacker can undercut, or that there is no guarantee.
    """

    gets: str
    thumbnail: int
    predicted: str
    run: tuple[str, ...]
    guarantee: str
    beside: str = ""


def attacker(advice: Advice) -> Attacker:
    """Of the advice's plan."""
    plan = advice.best
    if plan is None:
        return Attacker("There is no plan to attack.", 0, "", (), "")
    if plan.kind in ("all-edge", "local-head"):
        return Attacker(
            "Nothing: no activation is sent. Who has the device has the input.", 0, "", _run(advice, plan), "",
        )  # fmt: skip
    if plan.kind == "all-cloud":
        return Attacker("The input itself: the cloud sees it.", 0, "", (), "")
    found = plan.leakage("score") if "score" in plan.predicted else Estimate(math.nan)
    known = yardstick(advice)
    like = comparison_of(found, known)
    single = not like.startswith("anything") and ("thumbnail" in like or like.startswith("about"))
    side = thumbnail(found.value, known) if known is not None and single else 0
    of = f", measured on {known.of}" if known is not None and ("thumbnail" in like or "mean" in like) else ""
    gets = (
        f"{like[0].upper()}{like[1:]} (NMSE {show_estimate(found, 'score')}{of})."
        if like
        else _unlike(advice, plan, found)
    )
    by = "By the quick attack that priced it" if _by_attack(plan) else "Predicted for a strong attack"
    predicted = (
        ""
        if math.isnan(found.value)
        else (
            f"{by}: NMSE {words.predicted(plan, 'score')} (0 is a copy, 1 a guess of the mean), "
            f"SSIM {words.predicted(plan, 'score_ssim')}{_mean_image(advice)}."
        )
    )
    beside = next((words for start, words in BESIDE.items() if like.startswith(start)), "")
    return Attacker(gets, side, predicted, _run(advice, plan), _guarantee(plan), beside)


def _unlike(advice: Advice, plan: Plan, found: Estimate) -> str:
    """What is said where no NMSE is known: of ids the share that an attack got back, else why it is not."""
    if (ids := plan.verified.get("top1")) is not None:
        return f"{show_estimate(ids, 'top1')} of the ids at the first guess{chance(advice, 'top1', ids)}."
    return f"{NOT_MEASURED.capitalize()}: {clean(found.method) or 'no reason is recorded'}."


def _by_attack(plan: Plan) -> bool:
    """Whether a plan was priced by an attack, as one that was fitted against the estimators is, not by a prediction."""
    return "score" in plan.predicted and plan.predicted["score"].source == "measured"


def _mean_image(advice: Advice) -> str:
    found = words.section(advice, "zone").get("mean_image_ssim")
    if not isinstance(found, int | float) or not math.isfinite(found):
        return ""
    return f" (the mean image has {show(float(found), '1', 'ssim')})"


def _run(advice: Advice, plan: Plan) -> tuple[str, ...]:
    """The attacks on this plan; that they are weaker than the strong one is said."""
    return (*_attacks(advice, plan), *filter(None, [samples_needed(advice)]))


def _attacks(advice: Advice, plan: Plan) -> tuple[str, ...]:
    own = [item for item in advice.evidence if plan.is_of(item)]
    if own:
        return tuple(_sentence(advice, item) for item in own)
    if plan.verified:
        return (f"An attack that was run on this plan reached {_numbers(advice, plan.verified)}.",)
    if plan.kind != "split":
        return ()
    return (
        "No other attack was run on this plan."
        if _by_attack(plan)
        else "No attack was run on this plan: its leakage is a prediction.",
    )


def _sentence(advice: Advice, item: Evidence) -> str:
    numbers = _numbers(advice, item.scores)
    weaker = "" if item.budget == "strong" else ", which is weaker than the strong attack that is predicted,"
    return f"The {clean(item.budget)} {clean(item.attack)} attack{weaker} was run{_size(item)}: {numbers}."


def _size(item: Evidence) -> str:
    """At which size large images were reconstructed; "" where they are small, or there are none."""
    found = [size.groups() for note in item.notes if (size := SIZED.match(note))]
    return f" on images of {found[0][0]}×{found[0][1]} pixels" if found else ""


def _numbers(advice: Advice, scores: dict[str, Estimate]) -> str:
    found = [
        f"{quantity(name).label} {show_estimate(scores[name], name)}{chance(advice, name, scores[name])}"
        for name in RUN
        if name in scores and math.isfinite(scores[name].value)
    ]
    return ", ".join(found) or NOT_MEASURED


def _guarantee(plan: Plan) -> str:
    bound = plan.predicted.get("mse_bound")
    if bound is None or not bound.value > 0:
        if plan.fitted is not None:
            return "Guarantee: none. No lower bound (mse_bound) is known of what was fitted."
        noisy = plan.defense.guaranteed_variance > 0
        why = "could not be found here" if noisy else "needs Gaussian noise in what is sent"
        return f"Guarantee: none. A lower bound (mse_bound) {why}."
    mse, nmse = plan.verified.get("mse"), plan.verified.get("nmse")
    known = mse is not None and nmse is not None and mse.value > 0 and nmse.value > 0
    as_nmse = f", NMSE {show(bound.value * nmse.value / mse.value, '1', 'nmse')}" if known and mse and nmse else ""
    return (
        f"Guarantee (mse_bound): no attacker's mean squared error per element is below "
        f"{show_estimate(bound, 'mse_bound')}{as_nmse}, for inputs like these."
    )
