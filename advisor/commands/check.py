"""`advisor check`: whether an advice still holds; its exit code gates a release."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands.support import options as given
from advisor.commands.support import previous_advice as earlier_advice
from advisor.commands.support.exits import exit_codes, say
from advisor.commands.support.near_names import check_model_is_there
from advisor.commands.support.outputs import answer_only, one_of, screen
from advisor.commands.support.requirement_options import TakesRequirements
from advisor.commands.support.stage_progress import StageProgress
from advisor.commands.support.trust_prompt import trust
from advisor.errors import GateError
from advisor.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from advisor.gate import Gate

FORMATS = {"console": "console", "markdown": "markdown", "md": "markdown", "json": "json"}
OF_RECOMMEND = (
    "device", "link", "cloud", "profile", "task", "scores", "no_labels", "arch", "input_shape", "normalize", "resize",
    "verify", "train_data", "aux", "compute", "memory",
)  # fmt: skip


@TakesRequirements
def check(
    context: typer.Context,
    advice: Annotated[Path, typer.Argument(help="advice.json, or the folder that holds it.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(help="The model to be released; else the recorded one.", rich_help_panel=given.WHAT),
    ] = None,
    data: given.Data = None,
    train_data: given.TrainData = None,
    aux: given.Aux = None,
    requirement: given.OwnRequirements = None,
    confidence: Annotated[
        float | None,
        typer.Option(help="Hold every limit against this interval's bad end: 0.9.", rich_help_panel=given.BUDGETS),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option(help="SHA-256 of the advice, kept elsewhere: what it records counts.", rich_help_panel=given.WHAT),
    ] = None,
    task: given.Task = "auto",
    scores: given.Scores = None,
    no_labels: given.NoLabels = False,
    input_shape: given.Shape = None,
    arch: given.Arch = None,
    trusted: given.Trust = False,
    normalize: given.Normalize = "auto",
    resize: given.Resize = None,
    device: given.Device = "jetson",
    link: given.Link = "wifi",
    cloud: given.Cloud = "t4",
    profile: Annotated[
        Path | None, typer.Option(help="profile.json measured on the device.", rich_help_panel=given.WHERE)
    ] = None,
    verify: Annotated[
        str, typer.Option(help="How hard to attack again: quick or strong.", rich_help_panel=given.SEARCH)
    ] = "quick",
    compute: given.Compute = "auto",
    memory: given.Memory = None,
    no_config: given.NoConfig = False,
    format: Annotated[str, typer.Option(help="console, markdown or json.", rich_help_panel=given.OUTPUT)] = "console",
    as_json: given.Json = False,
    **asked: str | None,
) -> None:
    """Hold ADVICE against requirements, for a release: exit code 0, or 5 with one line for each failure.

    What is not given is as the advice records it. Costs, accuracy and leakage are computed and measured again;
    recorded numbers count only with --digest.
    """
    with exit_codes():
        import advisor

        shown = one_of("--format", format, FORMATS)
        own = earlier_advice.own_requirements(requirement or ())  # before the advice is read, which may hold them
        now = earlier_advice.typed(context)
        limits = {name: value for name, value in now.items() if name in REQUIREMENTS}
        if not no_config:
            limits = {**_budgets(), **limits}
        limits |= own
        if model is not None:
            check_model_is_there(model)
        options: dict[str, Any] = {name: now[name] for name in OF_RECOMMEND if name in now}
        with StageProgress() as progress, answer_only():
            gate = advisor.check(
                advice, model, data, confidence=confidence, digest=digest, requirements=limits,
                trust=trust(trusted, progress), progress=progress, **options,
            )  # fmt: skip
        for note in gate.notes:
            say(f"Note: {note}")
        say(progress.summary())
        _show(gate, "json" if as_json else shown)
        if not gate.passed:
            raise GateError(f"The gate failed: {len(gate.failures)} of {len(gate.checks)} checks.")


def _budgets() -> dict[str, float]:
    """The requirements that a settings file sets; the rest of it is about recommending."""
    return {name: value for name, value in earlier_advice.settings().items() if name in REQUIREMENTS}


def _show(gate: Gate, shown: str) -> None:
    from advisor.reports import gate_summary

    if shown == "json":
        sys.stdout.write(json.dumps(gate.to_json(), indent=1) + "\n")
    elif shown == "markdown":
        sys.stdout.write(gate_summary.markdown(gate))
    else:
        console = screen()
        for line in gate_summary.lines(gate):
            console.print(line, markup=False, soft_wrap=True)
