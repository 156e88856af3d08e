"""`advisor devices` and `advisor links`: what the catalog knows, and from where."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import exit_codes
from advisor.commands.support.outputs import screen

if TYPE_CHECKING:
    from advisor.profilers import Device, Link

Full = Annotated[bool, typer.Option("--full", help="Every figure, with its source.")]


def devices(extra: given.Extra = None, full: Full = False, as_json: given.Json = False) -> None:
    """List the devices that --device and --cloud know."""
    with exit_codes():
        from advisor.profilers import devices as catalog

        names, rows = _names("devices", extra), catalog(extra)
        if as_json:
            _print_json(names, rows, [{"times": _times(row)[0], "why": _times(row)[1]} for row in rows])
        else:
            _print_table(
                ("name", "kind", "runtime", "memory", "loads", "times", "stands for"), _device, names, rows, full
            )
            screen().print("~: rough, one estimate in ten is off by a factor of 2 or more")


def links(extra: given.Extra = None, full: Full = False, as_json: given.Json = False) -> None:
    """List the links that --link knows."""
    with exit_codes():
        from advisor.profilers import links as catalog

        names, rows = _names("links", extra), catalog(extra)
        if as_json:
            _print_json(names, rows)
        else:
            _print_table(("name", "up", "down", "round trip", "stands for"), _link, names, rows, full)


def _names(noun: str, extra: Path | None) -> tuple[str, ...]:
    """What to type for each row, in the catalog's order: aliases first."""
    from advisor.profilers.machines.catalog import tables

    rows, aliases = tables(f"{noun}.toml", noun, extra)
    return (*aliases, *rows)


def _device(row: Device) -> tuple[str, ...]:
    from advisor.units import digits

    memory = "unknown" if math.isnan(row.memory) else f"{digits(row.memory / 1e9)} GB"
    times, why = _times(row)
    rough = " ~" if why.startswith("rough") else ""
    told = row.stands_for if times else f"{row.stands_for}. {why}"
    return row.kind, f"{row.runtime} {row.precision}", memory, ", ".join(row.loads), f"{times or 'none'}{rough}", told


def _times(row: Device) -> tuple[str, str]:
    """What its times are estimated from, "own" or "kin", and how; "" where nothing tells them, and why."""
    from advisor.errors import AdvisorError
    from advisor.profilers.published.fits import fit_for

    if row.calibration:
        return "own", f"calibrated: {row.calibration}"
    try:
        basis = fit_for(row).basis
    except AdvisorError as error:
        return "", str(error)
    return ("kin" if "borrowed" in basis else "own"), basis


def _link(row: Link) -> tuple[str, ...]:
    from advisor.units import digits, show_duration

    assumed = " (assumed)" if any("round trip" in note for note in row.assumed) else ""
    rates = (f"{digits(rate / 1e6)} Mbps" for rate in (row.up, row.down))
    return (*rates, show_duration(row.rtt) + assumed, row.stands_for)


def _print_table(
    header: Sequence[str],
    cells: Callable[[Any], tuple[str, ...]],
    names: Sequence[str],
    rows: Sequence[Device | Link],
    full: bool,
) -> None:
    from rich.table import Table
    from rich.text import Text

    from advisor.reports.content.text import clean

    table = Table(box=None, padding=(0, 1), header_style="bold", show_edge=False)
    for title in (*header, "source") if full else header:
        table.add_column(title, overflow="fold", no_wrap=title == header[0])
    for name, row in zip(names, rows, strict=True):
        sources = (f"{row.source} {row.note}".strip(),) if full else ()
        table.add_row(*(Text(clean(text)) for text in (name, *cells(row), *sources)))
    screen().print(table)


def _print_json(
    names: Sequence[str], rows: Sequence[Device | Link], more: Sequence[dict[str, str]] | None = None
) -> None:  # fmt: skip
    """One object a row, `name` being what to type; an unknown or unlimited figure is null."""
    known = []
    for name, row, added in zip(names, rows, more or [{}] * len(rows), strict=True):
        plain: dict[str, Any] = {"row": row.name, **dataclasses.asdict(row), "name": name, "means": str(row), **added}
        known.append({k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in plain.items()})
    sys.stdout.write(json.dumps(known, indent=1) + "\n")
