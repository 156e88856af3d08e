"""`advisor recommend`: the whole answer about one model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.commands.support import options as given
from advisor.commands.support import previous_advice as earlier_advice
from advisor.commands.support.exits import FOUND, INFEASIBLE, exit_codes, noticed, say
from advisor.commands.support.near_names import check_given
from advisor.commands.support.outputs import answer_only, screen, writable
from advisor.commands.support.requirement_options import TakesRequirements
from advisor.commands.support.stage_progress import StageProgress
from advisor.commands.support.trust_prompt import trust
from advisor.errors import AdvisorError, InterruptedRunError

if TYPE_CHECKING:
    from advisor.advice import Advice

FILES, PROFILE = ("advice.json", "report.html"), "profile.json"


PICTURES = "Note: both hold pictures of private inputs (--pictures), and only you may read them."


@TakesRequirements
def recommend(
    context: typer.Context,
    model: given.ModelAgain = None,
    device: given.Device = "jetson",
    link: given.Link = "wifi",
    cloud: given.Cloud = "t4",
    data: given.Data = None,
    train_data: given.TrainData = None,
    aux: given.Aux = None,
    task: given.Task = "auto",
    scores: given.Scores = None,
    no_labels: given.NoLabels = False,
    input_shape: given.Shape = None,
    arch: given.Arch = None,
    trusted: given.Trust = False,
    normalize: given.Normalize = "auto",
    resize: given.Resize = None,
    max_tensors: given.MaxTensors = None,
    granularity: given.Granularity = None,
    tail: given.Tail = None,
    defenses: Annotated[
        str,
        typer.Option(help="none, free, trained, all, or names of `advisor defenses`.", rich_help_panel=given.SEARCH),
    ] = "free",
    recipe: Annotated[
        str | None,
        typer.Option(help="Settings of what is fitted: width=8,stride=2,sigma=0.2..1.", rich_help_panel=given.SEARCH),
    ] = None,
    cuts: Annotated[
        str | None, typer.Option(help="Look at these cuts alone: 'layer2*,layer3*'.", rich_help_panel=given.SEARCH)
    ] = None,
    effort: Annotated[
        str, typer.Option(help="quick, standard or thorough: at most 3, 12 or 60 min.", rich_help_panel=given.SEARCH)
    ] = "standard",
    trials: Annotated[
        int | None, typer.Option(min=1, help="Plans to try, whatever the effort.", rich_help_panel=given.SEARCH)
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="End the whole run after: 10min.", rich_help_panel=given.SEARCH)
    ] = None,
    memory: given.Memory = None,
    compute: given.Compute = "auto",
    storage: Annotated[
        str | None,
        typer.Option(
            help="Resume from it, or share it with other machines: sqlite:///s.db, s.journal, postgresql://….",
            rich_help_panel=given.SEARCH,
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Name of the study on the storage.", rich_help_panel=given.SEARCH)
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(help="Share fitted weights by it: a folder, s3://bucket.", rich_help_panel=given.SEARCH),
    ] = None,
    verify: Annotated[
        str, typer.Option(help="Attack the best plans: none, quick or strong.", rich_help_panel=given.SEARCH)
    ] = "quick",
    attack_size: given.AttackSize = None,
    attacker_samples: Annotated[
        str | None,
        typer.Option(
            help="Tell what an attacker of so many samples gets: 400, 8000, 1e6.", rich_help_panel=given.SEARCH
        ),
    ] = None,
    requirement: given.OwnRequirements = None,
    objective: Annotated[
        str, typer.Option(help="What is to be best: latency, nmse, edge_memory ...", rich_help_panel=given.BUDGETS)
    ] = "latency",
    confidence: Annotated[
        float | None,
        typer.Option(help="Hold every limit against this interval's bad end: 0.9.", rich_help_panel=given.BUDGETS),
    ] = None,
    require_split: Annotated[
        bool,
        typer.Option(
            "--require-split", help="Leave all-edge and all-cloud out of the answer.", rich_help_panel=given.BUDGETS
        ),
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(help="profile.json measured on the device by `advisor profile`.", rich_help_panel=given.WHERE),
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Folder of earlier advice: its options and measurements.", rich_help_panel=given.SEARCH
        ),
    ] = None,
    model_file: Annotated[
        str | None,
        typer.Option("--model", help="Where the model of --from lies now.", rich_help_panel=given.WHAT),
    ] = None,
    no_config: given.NoConfig = False,
    seed: given.Seed = 0,
    out: given.Out = Path("out"),
    pictures: given.Pictures = False,
    all_cuts: given.AllCuts = False,
    as_json: given.Json = False,
    **asked: str | None,
) -> None:
    """Say where to split MODEL between edge and cloud, and what to do to the tensor before it leaves."""
    with exit_codes():
        wanted, before = earlier_advice.asked(context, earlier, not no_config)
        raise typer.Exit(answered(wanted, before, trusted, out, as_json, all_cuts))


def answered(
    wanted: earlier_advice.Asked,
    before: Advice | None,
    trusted: bool,
    out: Path,
    as_json: bool,
    all_cuts: bool = False,
) -> int:
    """Find the advice, save it, show it; returns the exit code.

    Raises:
        AdvisorError, KeyboardInterrupt: as `advise`; an advice that could not be saved is shown first.
    """
    found: list[Advice] = []
    try:
        _recommend(wanted, before, trusted, _writable(out), found)
        say(f"Wrote {out / FILES[0]} and {out / FILES[1]}. Digest of the advice: {found[0].digest}.")
        if found[0].holds_pictures:
            say(PICTURES)
    except AdvisorError:  # the answer was found, but could not be saved
        for advice in found:
            _show(advice, as_json, all_cuts)
        raise
    _show(found[0], as_json, all_cuts)
    return _code(found[0])


def _recommend(
    wanted: earlier_advice.Asked, before: Advice | None, trusted: bool, out: Path, found: list[Advice]
) -> None:
    """Find the advice and save it, while Ctrl-C waits; `found` has it though it could not be saved."""
    data, target = wanted.request.data, wanted.request.target
    check_given(
        (data.data, data.train_data, data.aux), wanted.request.model.arch, (target.device, target.cloud), (target.link,)
    )
    from advisor.planning.advising import advise

    def keep(advice: Advice) -> None:
        found.append(advice)
        with noticed(out / FILES[0], out / FILES[1]):
            advice.save(out)

    with StageProgress() as progress, answer_only():
        try:
            advise(
                wanted.request, trust=trust(trusted, progress), earlier=before, recorded=wanted.model,
                progress=progress, keep=keep,
            )  # fmt: skip
        except InterruptedRunError as error:
            _keep(error, out)
            raise
    say(progress.summary())


def _writable(out: Path) -> Path:
    from advisor.advice import is_advice
    from advisor.columns import is_profile
    from advisor.reports.html import is_report

    return writable(out, dict(zip((*FILES, PROFILE), (is_advice, is_report, is_profile), strict=True)))


def _keep(error: InterruptedRunError, out: Path) -> None:
    """Save what was measured before the user interrupted."""
    from advisor.columns import Profile

    if isinstance(error.profile, Profile):
        with noticed(out / PROFILE):
            error.profile.save(out / PROFILE)
        say(f"What was measured until then is in {out / PROFILE}; --profile takes it.")


def _show(advice: Advice, as_json: bool, all_cuts: bool) -> None:
    from advisor.reports.console import print_advice
    from advisor.reports.json import render

    if as_json:
        sys.stdout.write(render(advice))
        return
    print_advice(advice, screen(), all_cuts)


def _code(advice: Advice) -> int:
    """The exit code of an answer; raises KeyboardInterrupt where one ended the run early."""
    if stage := advice.provenance.get("interrupted"):
        say(f"Interrupted during {stage}: this is the best found until then.")
        raise KeyboardInterrupt
    return FOUND if advice.feasible else INFEASIBLE
