"""`advisor doctor`: what is installed, what this machine can measure, what is missing and how to get it."""

from __future__ import annotations

import dataclasses
import json
import sys

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import USAGE, exit_codes
from advisor.commands.support.outputs import screen

TITLES = {"installed": "Installed", "measures": "What this machine can measure", "settings": "Settings"}


def doctor(as_json: given.Json = False) -> None:
    """Say what is installed, what this machine can measure, what is missing and how to get it.

    Exit code 0, or 2 where something is missing that nothing runs without.
    """
    with exit_codes():
        from advisor.commands.support.machine import findings

        found = [*findings()]
        if as_json:
            sys.stdout.write(json.dumps([dataclasses.asdict(finding) for finding in found], indent=1) + "\n")
        else:
            console = screen()
            for group, title in TITLES.items():
                console.print(title, style="bold")
                for finding in (finding for finding in found if finding.group == group):
                    console.print(f"  {finding.state:<8} {finding.name}: {finding.found}", markup=False, soft_wrap=True)
                    if finding.get:
                        console.print(f"{'':<11}to get it: {finding.get}", markup=False, soft_wrap=True)
        if any(finding.state == "wrong" for finding in found):
            raise typer.Exit(USAGE)
