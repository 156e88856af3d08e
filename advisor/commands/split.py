"""`advisor split`: the halves of the chosen plan as files that run without this package."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import exit_codes, noticed, say
from advisor.commands.support.numbered_plans import Number, no_such, numbered, plan_number
from advisor.commands.support.outputs import answer_only, screen
from advisor.commands.support.stage_progress import StageProgress
from advisor.commands.support.trust_prompt import trust

if TYPE_CHECKING:
    from advisor.advice import Advice
    from advisor.exporting import Exported
    from advisor.plans import Plan


def split(
    advice: Annotated[Path, typer.Argument(help="advice.json, or the folder that holds it.", show_default=False)],
    out: given.Out = Path("split"),
    format: Annotated[str, typer.Option(help="pt2 (torch.export) or onnx.", rich_help_panel=given.OUTPUT)] = "pt2",
    cut: Annotated[
        str | None, typer.Option(help="Name or index: the plan of the front that cuts there.", show_default=False)
    ] = None,
    plan: Number = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model file, if it is no longer where it was.", rich_help_panel=given.WHAT),
    ] = None,
    arch: given.Arch = None,
    trusted: given.Trust = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="Samples to attack what was written with; else the file that the advice records.",
            rich_help_panel=given.WHAT,
        ),
    ] = None,
    as_json: given.Json = False,
) -> None:
    """Write the edge and cloud halves of the chosen plan, plan.json and the code beside them, each checked."""
    with exit_codes():
        import advisor
        from advisor.exporting import check_format
        from advisor.exporting.manifest import PLAN_FILE

        check_format(format)
        answer = _picked(advisor.load_advice(advice), cut, plan)
        with StageProgress() as progress, answer_only(), noticed(out / PLAN_FILE):
            made = advisor.export(
                answer, out, format, model, arch=arch, trust=trust(trusted, progress), data=data, progress=progress  # type: ignore[arg-type]
            )  # fmt: skip
        if not answer.feasible:
            say("Note: no plan meets the budgets of this advice; this is the nearest.")
        for note in made.notes:
            say(f"Note: {note}")
        say(f"Wrote {', '.join(made.files)} and plan.json into {out}.")
        if as_json:
            sys.stdout.write(made.text())
        else:
            _show(made)


def _picked(answer: Advice, cut: str | None, number: int | None) -> Advice:
    """The advice with another plan of its front as the best split.

    Raises:
        AdvisorError: when there is no such plan; the message lists them.
    """
    if cut is None and number is None:
        if answer.best is not None and answer.best.kind != "split":
            say(f"Note: the advice is {answer.verdict}; this is its best split.")
        return answer
    if number is not None:
        found = [plan for plan in [plan_number(answer, number)] if cut is None or cut in _names(plan)]
    else:
        own = [] if answer.best_split is None else [answer.best_split]
        found = [plan for plan in (*own, *numbered(answer)) if cut in _names(plan)]
    if not found:
        raise no_such(answer, f"at {cut!r}" if number is None else f"number {number} at {cut!r}")
    return dataclasses.replace(answer, best_split=found[0])


def _names(plan: Plan) -> tuple[str, str]:
    return plan.cut.name, str(plan.cut.index)


def _show(made: Exported) -> None:
    from advisor.reports.content.text import clean
    from advisor.units import digits

    console, found = screen(), made.check
    console.print(f"Cut at {clean(' and '.join(made.cuts))}, defense: {made.defense}.", markup=False)
    for part in made.parts:
        entry = made.files[part.file]
        console.print(f"  {part.file:<16} {digits(entry.bytes / 1e6)} MB, runs on the {part.place}", markup=False)
    for crossing in made.crossings:
        sent = ", ".join(f"{t.dtype} {'×'.join(map(str, t.shape)) or '1'}" for t in crossing.tensors)
        size = crossing.message_bytes or crossing.sample_bytes
        console.print(f"  {crossing.sender} to {crossing.receiver}: {sent}; {size} bytes a sample", markup=False)
    agreed = "bit for bit" if found.exact else f"within {found.max_abs_difference:.2g}"
    same = "" if found.top1_equal != found.top1_equal else ", same highest score"
    console.print(f"Checked against the model by {found.runtime}: equal {agreed}{same}.", markup=False)
    if fresh := made.freshness:
        variance = f"{digits(fresh.variance)}, {digits(fresh.promised)} is promised"
        console.print(f"Two calls of the edge differ by noise of variance {variance}.", markup=False)
    if (attacked := made.attacked) and not attacked.skipped:
        from advisor.reports.content.quantities import show_estimate

        left = show_estimate(attacked.scores["nmse"], "nmse")
        where = clean(attacked.notes[-1])
        console.print(
            f"The written edge under {attacked.attack}, {attacked.budget}, {where}: NMSE {left}.", markup=False
        )
    elif attacked:
        console.print(f"The written edge was not attacked: {clean(attacked.skipped).rstrip('.')}.", markup=False)
