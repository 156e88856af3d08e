"""`advisor profile` and `advisor leakage`: one half of the picture, cut by cut."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import exit_codes, noticed, say
from advisor.commands.support.model_inputs import Wanted, result_file
from advisor.commands.support.near_names import check_given
from advisor.commands.support.outputs import answer_only, screen
from advisor.commands.support.previous_advice import settled
from advisor.commands.support.stage_progress import StageProgress
from advisor.progress import of_stage

if TYPE_CHECKING:
    from advisor.columns import Profile


def profile(
    context: typer.Context,
    model: given.Model,
    device: given.Device = "jetson",
    link: given.Link = "wifi",
    cloud: given.Cloud = "t4",
    extra: given.Extra = None,
    input_shape: given.Shape = None,
    arch: given.Arch = None,
    trusted: given.Trust = False,
    max_tensors: given.MaxTensors = None,
    granularity: given.Granularity = None,
    time_limit: Annotated[
        str | None,
        typer.Option(help="Stop timing after: 60s. For --device local and ssh://...", rich_help_panel=given.WHERE),
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Your own profiler: package.module:Name.", rich_help_panel=given.WHERE)
    ] = None,
    no_config: given.NoConfig = False,
    out: given.Out = Path("out"),
    as_json: given.Json = False,
) -> None:
    """Cost of every cut of MODEL: MACs, bytes, memory, latency, energy. Writes profile.json."""
    with exit_codes():
        import advisor
        from advisor.units import duration

        device, link, cloud = settled(context, no_config, "device", "link", "cloud")
        path, limit = result_file(out, "profile.json"), given.optional(duration, time_limit, "--time-limit")
        wanted = Wanted(model, arch, trusted, input_shape, "none", max_tensors=max_tensors, granularity=granularity)
        check_given(machines=(device, cloud), links=(link,), extra=extra)
        with StageProgress() as progress, answer_only():
            graph = wanted.graph(progress)
            found = advisor.profile(
                graph, device, link, cloud, extra=extra, limit=limit, also=also or (),
                progress=of_stage(progress, "cost"),
            )  # fmt: skip
        say(progress.summary())
        _finish(found, path, as_json)


def leakage(
    context: typer.Context,
    model: given.Model,
    data: given.Data = None,
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
    only: Annotated[
        str | None,
        typer.Option(
            help="Columns to measure: score,rc2,fisher; or package.module:Name.", rich_help_panel=given.SEARCH
        ),
    ] = None,
    compute: given.Compute = "auto",
    seed: given.Seed = 0,
    no_config: given.NoConfig = False,
    out: given.Out = Path("out"),
    as_json: given.Json = False,
) -> None:
    """What every cut of MODEL leaks of its input. Writes leakage.json."""
    with exit_codes():
        import advisor
        from advisor.computing.chosen_device import chosen

        task, seed = settled(context, no_config, "task", "seed")
        path = result_file(out, "leakage.json")
        columns = None if only is None else [name.strip() for name in only.split(",")]
        wanted = Wanted(
            model, arch, trusted, input_shape, normalize, data, resize, seed, max_tensors, granularity, task=task,
            scores=scores, no_labels=no_labels,
        )  # fmt: skip
        chosen(compute)  # one that is absent is refused before anything slow
        with StageProgress() as progress, answer_only():
            measured = wanted.given(progress)
            graph, samples = measured.graph, measured.samples
            found = advisor.leakage(
                graph, samples.x, samples.labels, columns, seed,
                progress=of_stage(progress, "leakage"), compute=compute,
            )  # fmt: skip
        say(progress.summary())
        _finish(found, path, as_json)


def _finish(found: Profile, path: Path, as_json: bool) -> None:
    with noticed(path):
        found.save(path)
    say(f"Wrote {path}.")
    if as_json:
        sys.stdout.write(json.dumps(found.to_json(), indent=1) + "\n")
        return
    from advisor.reports.console import print_profile

    print_profile(dataclasses.replace(found, provenance=_short(found.provenance)), screen())


def _short(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Of each machine and link its name and what that stands for, and nothing of who made which column."""
    rows = {key: provenance[key] for key in ("device", "link", "cloud") if key in provenance}
    named = {key: f"{row['key']}: {row['stands_for']}" for key, row in rows.items()}
    rest = {key: value for key, value in provenance.items() if key not in rows}
    if isinstance(rest.get("cost"), Mapping):
        rest["cost"] = {key: value for key, value in rest["cost"].items() if key != "columns"}
    return named | rest
