"""`advisor calibrate`: a device file for the machine at hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import exit_codes, noticed, say
from advisor.commands.support.outputs import answer_only, writable
from advisor.commands.support.stage_progress import StageProgress
from advisor.progress import of_stage


def calibrate(
    out: Annotated[Path, typer.Option("--out", help="The device file to write.", rich_help_panel=given.OUTPUT)] = Path(
        "device.toml"
    ),
    name: Annotated[str, typer.Option(help="What to call the device.")] = "this-machine",
    time_limit: Annotated[str, typer.Option(help="How long to measure.")] = "120s",
    as_json: given.Json = False,
) -> None:
    """Learn how fast this machine runs each kind of operator, from micro-benchmarks; writes a device file."""
    with exit_codes():
        from advisor.errors import AdvisorError
        from advisor.files import replace_ours
        from advisor.profilers.calibration.calibrating import calibrate as measure
        from advisor.profilers.calibration.kinds import is_device_file
        from advisor.support.documents import parse_toml
        from advisor.units import duration, show_duration

        if out.suffix != ".toml":
            raise AdvisorError(f"{out} is no .toml file.", "Write --out device.toml.")
        writable(out.parent, {out.name: is_device_file})
        seconds = given.optional(duration, time_limit, "--time-limit") or 0.0
        say(f"Measuring takes {show_duration(seconds)}, the fit a few seconds more.")
        with StageProgress() as progress, answer_only():
            text = measure(name, seconds, of_stage(progress, "calibrate"))
        with noticed(out):
            replace_ours(out, text, is_device_file)
        if as_json:
            sys.stdout.write(json.dumps({"file": str(out), **parse_toml(text.encode(), out)}, indent=1) + "\n")
        say(f"Wrote {out}. Use it: advisor recommend MODEL --device {out}")
