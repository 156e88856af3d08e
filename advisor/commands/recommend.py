"""`advisor recommend`: the whole answer about one model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands import options as given
from advisor.commands.exits import FOUND, INFEASIBLE, INTERRUPTED, exit_codes, say
from advisor.commands.outputs import answer_only, screen, writable
from advisor.commands.trusting import trust
from advisor.progress import StageProgress

if TYPE_CHECKING:
    from advisor.errors import InterruptedRunError
    from advisor.plans import Advice

FILES, PROFILE = ("advice.json", "report.html"), "profile.json"


def recommend(
    context: typer.Context,
    model: given.Model,
    device: given.Device = "jetson",
    link: given.Link = "wifi",
    cloud: given.Cloud = "t4",
    data: given.Data = None,
    input_shape: given.Shape = None,
    arch: given.Arch = None,
    trusted: given.Trust = False,
    normalize: given.Normalize = "auto",
    resize: given.Resize = None,
    max_tensors: given.MaxTensors = None,
    granularity: given.Granularity = None,
    max_latency: Annotated[
        str | None, typer.Option(help="Edge + link + cloud: 50ms.", rich_help_panel=given.BUDGETS)
    ] = None,
    max_accuracy_drop: Annotated[
        str | None, typer.Option(help="Absolute: 2% is two percentage points.", rich_help_panel=given.BUDGETS)
    ] = None,
    max_ssim: Annotated[
        str | None, typer.Option(help="Highest SSIM of a strong attack: 0.3.", rich_help_panel=given.BUDGETS)
    ] = None,
    min_nmse: Annotated[
        str | None, typer.Option(help="Lowest NMSE left to a strong attack: 0.7.", rich_help_panel=given.BUDGETS)
    ] = None,
    max_edge_memory: Annotated[
        str | None, typer.Option(help="Weights and activations: 1GiB.", rich_help_panel=given.BUDGETS)
    ] = None,
    defenses: Annotated[
        str, typer.Option(help="none, free, or names: gaussian,int8.", rich_help_panel=given.SEARCH)
    ] = "free",
    trials: Annotated[int, typer.Option(min=1, help="Plans to try.", rich_help_panel=given.SEARCH)] = 40,
    timeout: Annotated[
        str | None, typer.Option(help="End the search after: 10min.", rich_help_panel=given.SEARCH)
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Optuna storage to resume from: sqlite:///s.db.", rich_help_panel=given.SEARCH),
    ] = None,
    verify: Annotated[
        str, typer.Option(help="Attack the best plans: none, quick or strong.", rich_help_panel=given.SEARCH)
    ] = "quick",
    profile: Annotated[
        Path | None,
        typer.Option(help="profile.json measured on the device by `advisor profile`.", rich_help_panel=given.WHERE),
    ] = None,
    seed: given.Seed = 0,
    out: given.Out = Path("out"),
    as_json: given.Json = False,
) -> None:
    """Say where to split MODEL between edge and cloud, and what to do to the tensor before it leaves."""
    with exit_codes():
        wanted = {
            "device": device, "link": link, "cloud": cloud, "data": data, "arch": arch, "normalize": normalize,
            "input_shape": given.sizes(input_shape, "--input-shape"), "resize": resize,
            "max_tensors": max_tensors, "granularity": granularity,
            **_budgets(max_latency, max_accuracy_drop, max_ssim, min_nmse, max_edge_memory),
            "defenses": defenses, "trials": trials, "timeout": _seconds(timeout), "storage": storage,
            "verify": verify, "profile": profile, "seed": seed, "command": given.reproduce(context),
        }  # fmt: skip
        advice = _advice(model, wanted, trusted, writable(out, (*FILES, PROFILE)))
        try:
            advice.save(out)
            say(f"Wrote {out / FILES[0]} and {out / FILES[1]}.")
        finally:
            _show(advice, as_json)
        raise typer.Exit(_code(advice))


def _advice(model: str, wanted: dict[str, Any], trusted: bool, out: Path) -> Advice:
    import advisor
    from advisor.errors import InterruptedRunError

    with StageProgress() as progress, answer_only():
        try:
            advice = advisor.recommend(model, **wanted, trust=trust(trusted, progress), progress=progress)
        except InterruptedRunError as error:
            _keep(error, out)
            raise
    say(progress.summary())
    return advice


def _keep(error: InterruptedRunError, out: Path) -> None:
    """Save what was measured before the user interrupted."""
    from advisor.columns import Profile

    if isinstance(error.profile, Profile):
        error.profile.save(out / PROFILE)
        say(f"What was measured until then is in {out / PROFILE}; --profile takes it.")


def _budgets(
    latency: str | None, drop: str | None, ssim: str | None, nmse: str | None, memory: str | None
) -> dict[str, float | None]:
    from advisor import units

    return {
        "max_latency": given.optional(units.duration, latency, "--max-latency"),
        "max_accuracy_drop": given.optional(given.fraction, drop, "--max-accuracy-drop"),
        "max_ssim": given.optional(given.fraction, ssim, "--max-ssim"),
        "min_nmse": given.optional(given.fraction, nmse, "--min-nmse"),
        "max_edge_memory": given.optional(units.size, memory, "--max-edge-memory"),
    }


def _seconds(timeout: str | None) -> float | None:
    from advisor import units

    return given.optional(units.duration, timeout, "--timeout")


def _show(advice: Advice, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(advice.to_json(), indent=1) + "\n")
        return
    from advisor.reports.console import print_advice

    print_advice(advice, screen())


def _code(advice: Advice) -> int:
    if stage := advice.provenance.get("interrupted"):
        say(f"Interrupted during {stage}: this is the best found until then.")
        return INTERRUPTED
    return FOUND if advice.feasible else INFEASIBLE
