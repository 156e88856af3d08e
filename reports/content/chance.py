"""What guessing alone would reach, beside every share of guesses."""

from __future__ import annotations

import re

from advisor.advice import Advice
from advisor.estimate import Estimate
from advisor.reports.content.quantities import show

IDS, COMMONEST = "ids recovered", re.compile(r"commonest alone: ([01]\.\d+)")
"""How the method of a share of ids begins, and what it says of guessing."""

SHARES = ("reidentified", "top1", "top5")


def chance(advice: Advice, name: str, found: Estimate) -> str:
    """` (chance: 10 %)` beside a share of guesses, all classes of the model as likely; "" beside another quantity.

    Of ids the commonest are guessed, as often as they occur among those that were attacked.
    """
    if name not in SHARES:
        return ""
    guesses = 5 if name == "top5" else 1
    if found.method.startswith(IDS):
        said = COMMONEST.search(found.method)
        alone = "not known" if said is None else show(float(said[1]), "1", name)
        return f" ({'the commonest alone' if guesses == 1 else 'the five commonest alone'}: {alone})"
    classes = class_count(advice)
    if classes is None:
        return " (chance: not known)"
    return f" (chance: {show(guesses / max(classes, guesses), '1', name)})"


def class_count(advice: Advice) -> int | None:
    """How many classes the model tells apart, read off its output; None where that is no vector of scores."""
    specs = advice.profile.cuts[-1].tensors if advice.profile.cuts else ()
    vector = len(specs) == 1 and len(specs[0].shape) == 1 and specs[0].shape[0] > 1
    return specs[0].shape[0] if vector else None
