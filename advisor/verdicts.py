"""The one sentence of an answer. Planning writes it into the advice, and reports write nothing else in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from advisor.plans import Plan, Verdict

NAMES = {
    "split": "split here",
    "all-edge": "run it all on the edge",
    "all-cloud": "run it all in the cloud",
    "local-head": "run a smaller model on the edge",
    "none": "nothing meets the budgets",
}
"""The five verdicts in a few words."""


WHOLE = {
    "all-edge": "everything on the edge",
    "all-cloud": "everything in the cloud",
    "local-head": "a smaller model on the edge",
}
"""Plans that are no split, by their kind."""


def in_words(plan: Plan) -> str:
    """A plan in one phrase: cut and defense, or what is run where."""
    return str(plan) if plan.kind == "split" else WHOLE[plan.kind] + as_sent(plan)


def as_sent(plan: Plan) -> str:
    """`, the input sent as JPEG`; "" where it is sent as the model takes it."""
    return f", the input sent as {plan.sends}" if plan.sends else ""


def verdict_sentence(verdict: Verdict, best: Plan | None) -> str:
    """One of five sentences; never two verdicts in one.

    Args:
        verdict: as `Advice.verdict`.
        best: its plan; with "none" the nearest, or None.
    """
    if best is None:
        return "Nothing meets the budgets: this model has no cut between input and output."
    if verdict == "split":
        where = " … ".join(best.places)
        how = "as it is" if best.defense.name == "none" and best.fitted is None else f"defended by {best.protection}"
        return f"Split here: cut at {where}, and send the activation {how}."
    return {
        "all-edge": "Run it all on the edge: nothing is sent.",
        "all-cloud": f"Run it all in the cloud{as_sent(best)}: leakage was waived, and nothing is better.",
        "local-head": "Run a smaller model on the edge: the local head beats every split.",
        "none": "Nothing meets the budgets.",
    }[verdict]
