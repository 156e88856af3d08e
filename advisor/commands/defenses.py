"""`advisor defenses`: what can be done to an activation before it leaves: paper, needs, cost, what breaks each."""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING, Any

from advisor.commands.support import options as given
from advisor.commands.support.exits import exit_codes
from advisor.commands.support.outputs import screen

if TYPE_CHECKING:
    from advisor.defenses import Defense
    from advisor.defenses.training.base import TrainedDefense


def defenses(as_json: given.Json = False) -> None:
    """List the defenses that `--defenses` and `--method` know: payload defenses, and methods that are fitted."""
    with exit_codes():
        from advisor.defenses import DEFENSES
        from advisor.defenses.methods import METHODS

        rows = [_payload(kind) for kind in DEFENSES.working().values()]
        rows += [_method(member) for member in METHODS.working().values()]
        if as_json:
            sys.stdout.write(json.dumps(rows, indent=1) + "\n")
            return
        for kind, title in (("payload", "Payload defenses, at any cut"), ("method", "Methods that are fitted")):
            screen().print(f"{title}:", markup=False, highlight=False)
            for row in rows:
                if row["kind"] == kind:
                    _show(row)


def _payload(kind: type[Defense]) -> dict[str, Any]:
    return {
        "name": kind.name, "kind": "payload", "about": (inspect.getdoc(kind) or "").partition("\n")[0],
        "paper": kind.paper, "needs": sorted(kind.needs), "cost": "nothing to fit", "changes": ["app"],
        "broken_by": list(kind.broken_by), "weakness": "averaging of repeats" if kind.random else "",
        "settings": {name: str(span) for name, span in kind.space.items()},
    }  # fmt: skip


def _method(member: TrainedDefense) -> dict[str, Any]:
    return {
        "name": member.name, "kind": "method", "about": member.about, "paper": member.paper,
        "needs": sorted(member.needs), "cost": member.cost, "changes": list(member.changes),
        "broken_by": list(member.broken_by), "weakness": member.weakness,
        "settings": {name: "auto" if value is None else str(value) for name, value in member.settings.items()},
    }  # fmt: skip


def _show(row: dict[str, Any]) -> None:
    """A paragraph a defense; what is not known of it has no line."""
    console = screen()
    console.print(f"  {row['name']}: {row['about']}", markup=False, highlight=False)
    settings = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
    lines = {
        "paper": row["paper"], "needs": ", ".join(row["needs"]), "cost": row["cost"],
        "changes": ", ".join(row["changes"]),
        "broken by": "; ".join(filter(None, (", ".join(row["broken_by"]), row["weakness"]))), "settings": settings,
    }  # fmt: skip
    for label, text in lines.items():
        if text:
            console.print(f"      {label}: {text}", markup=False, highlight=False)
