"""What `advisor attack` prints of each attack."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING

from advisor.commands.support.outputs import screen
from advisor.errors import AdvisorError
from advisor.support.safe_text import visible

if TYPE_CHECKING:
    from advisor.cuts import Cut
    from advisor.defenses import Defense
    from advisor.estimators.attacks.support.metrics import AttackResult


def show_all(found: dict[Cut, AttackResult | AdvisorError], defense: Defense, described: str, as_json: bool) -> None:
    """One answer a cut; as JSON an object for one cut, else a list of them.

    Raises:
        AdvisorError: the first that ended an attack, after the others' answers.
    """
    failed = [error for error in found.values() if isinstance(error, AdvisorError)]
    rows: list[dict[str, object]] = []
    for cut, result in found.items():
        if isinstance(result, AdvisorError):
            rows.append({"cut": cut.name, "defense": str(defense), "failed": str(result)})
        elif as_json:
            rows.append(_row(result, cut, defense, described))
        else:
            _show(result, cut, defense, described)
    if as_json and len(failed) < len(found):
        sys.stdout.write(json.dumps(rows if len(rows) > 1 else rows[0], indent=1) + "\n")
    if failed:
        raise failed[0]


def _row(found: AttackResult, cut: Cut, defense: Defense, described: str) -> dict[str, object]:
    from pydantic import TypeAdapter

    from advisor.estimate import Estimate

    about = {
        "attack": found.name, "version": found.version, "threat": str(found.threat), "budget": found.budget,
        "repeats": found.repeats,
    }  # fmt: skip
    estimates = TypeAdapter(dict[str, Estimate])
    plain: dict[str, object] = estimates.dump_python(found.scores, mode="json")
    if found.members:
        plain |= {"members": estimates.dump_python(found.members, mode="json"), "which": found.which}
    row: dict[str, object] = {
        "cut": cut.name,
        "defense": str(defense),
        "samples": len(found.originals),
        "data": described,
    }
    return row | about | plain | {"notes": found.notes}


def _show(found: AttackResult, cut: Cut, defense: Defense, described: str) -> None:
    from advisor.reports.content.quantities import quantity, show_estimate

    count = len(found.originals)
    lines = [f"{found.name} on {count} inputs, the activation at {cut.name}, defense: {defense}."]
    lines.append(f"Threat model: {found.threat}. Version {found.version} of this attack.")
    known = {name: estimate for name, estimate in found.scores.items() if math.isfinite(estimate.value)}
    for name, estimate in known.items():
        words = quantity(name)
        lines.append(f"  {words.label:<13} {show_estimate(estimate, name)}  {words.meaning or estimate.method}")
    missing = [(name, estimate) for name, estimate in found.scores.items() if name not in known]
    lines += [f"  {quantity(name).label:<13} not measured: {estimate.method}" for name, estimate in missing]
    lines += _members(found)
    lines += [f"Note: {note}." for note in found.notes]
    console = screen()
    for line in [*lines, f"On {described}."]:
        console.print(visible(line), markup=False)  # names are a stranger's


def _members(found: AttackResult) -> list[str]:
    """NMSE by each of several attacks, the lowest first, and whether the output alone gives as much away."""
    from advisor.reports.content.quantities import show_estimate

    if not found.members:
        return []
    told = sorted(found.members.items(), key=lambda item: (math.isnan(item[1].value), item[1].value))
    lines = [f"The lowest NMSE is by {found.which}; by each:"]
    lines += [
        f"  {name:<22} " + (show_estimate(e, "nmse") if math.isfinite(e.value) else f"failed: {e.method}")
        for name, e in told
    ]
    if found.at_floor:
        lines.append("The model's output gives as much away: what is above the floor is a failed attack, not privacy.")
    return lines
