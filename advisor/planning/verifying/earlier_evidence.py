"""Attacks that earlier advice records on a plan that is met again: run in the same way, they need no second run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from advisor.advice import Advice
from advisor.defenses import defense_to_json
from advisor.planning.shared_study.proofs import Proof
from advisor.plans import Plan

EARLIER = "evidence of the earlier advice"
"""How notes on it begin."""


def earlier_proof(earlier: Advice | None, plan: Plan, names: Sequence[str], effort: str) -> Proof | None:
    """What the attacks of earlier advice found on a plan; None where one is missing, or would be stronger by now.

    Args:
        earlier: advice about the same graph, samples and seed, by the same version of this program; or None.
        plan: that is to be attacked.
        names: of the attacks that it must face.
        effort: at which they are run.
    """
    known = None if earlier is None else _same(earlier, plan)
    if earlier is None or known is None or not known.verified:
        return None
    places = [_place(earlier, known, name, effort) for name in names]
    if None in places:
        return None
    items = [earlier.evidence[place] for place in sorted(place for place in places if place is not None)]
    note = f"{EARLIER}, {earlier.provenance.get('made') or 'of an unknown day'}"
    marked = tuple(dataclasses.replace(item, notes=_once(item.notes, note), pictures=()) for item in items)
    return Proof(known.verified, marked, "")


def _same(earlier: Advice, plan: Plan) -> Plan | None:
    """The plan of the same cuts, chain and fit that was attacked."""
    fit = plan.fitted and plan.fitted.digest
    for other in (*earlier.plans, *earlier.tried):
        if (
            other.verified
            and [cut.name for cut in other.cuts] == [cut.name for cut in plan.cuts]
            and defense_to_json(other.defense) == defense_to_json(plan.defense)
            and (other.fitted and other.fitted.digest) == fit
        ):
            return other
    return None


def _place(earlier: Advice, plan: Plan, name: str, effort: str) -> int | None:
    """Where verification recorded an attack on a plan: later runs, on other samples maybe, come after it."""
    for place, item in enumerate(earlier.evidence):
        if item.attack == name and plan.is_of(item):
            return place if item.budget == effort and item.repeats == 1 and not item.outdated else None
    return None


def _once(notes: tuple[str, ...], note: str) -> tuple[str, ...]:
    """The notes, and where the evidence is from; evidence that was taken twice keeps its first day."""
    return notes if any(said.startswith(EARLIER) for said in notes) else (*notes, note)
