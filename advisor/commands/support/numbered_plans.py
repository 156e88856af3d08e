"""Plans of an advice as `split` and `attack` name them: by their number on the front, the fastest is 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.advice import Advice
    from advisor.plans import Plan

Number = Annotated[int | None, typer.Option(min=1, help="A plan of the front by its number, the fastest is 1.")]


def numbered(advice: Advice) -> tuple[Plan, ...]:
    """The front, where nothing is feasible the nearest; the first has number 1."""
    return advice.pareto or advice.nearest


def no_such(advice: Advice, said: str) -> AdvisorError:
    """What to raise where there is no such plan; the message lists those that there are."""
    listed = "; ".join(f"{i}: {plan}" for i, plan in enumerate(numbered(advice), 1))
    return AdvisorError(f"The front has no plan {said}.", f"It has: {listed}.")


def plan_number(advice: Advice, number: int) -> Plan:
    """The plan of a number.

    Raises:
        AdvisorError: when there is none.
    """
    plans = numbered(advice)
    if not 1 <= number <= len(plans):
        raise no_such(advice, f"number {number}")
    return plans[number - 1]
