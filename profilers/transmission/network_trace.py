"""A link as it was measured over time: a CSV with one measurement a row."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from advisor.errors import AdvisorError
from advisor.files import read_bytes
from advisor.profilers.facts import LIMITS

FORM = "It needs a header with up_mbps and rtt_ms (down_mbps may be left out), and a number in each."
LARGEST = 64 * 2**20
"""Bytes: millions of measurements."""

Measurement = tuple[float, float, float]


def read_trace(path: str | Path) -> tuple[Measurement, ...]:
    """Rows of (up, down, round trip) in bits per second and seconds.

    Args:
        path: CSV with the columns `up_mbps`, `rtt_ms` and, unless the rate down is that up, `down_mbps`.

    Raises:
        AdvisorError: when it is missing, has no rows, or a figure is no plausible number; the message names the line.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path, LARGEST).decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise AdvisorError(f"{path} is no readable CSV: {error}.", FORM) from None
    if not rows or not {"up_mbps", "rtt_ms"} <= set(rows[0]):
        raise AdvisorError(f"{path} is no trace of a link.", FORM)
    return tuple(_measurement(row, f"{path}, line {number}") for number, row in enumerate(rows, start=2))


def _measurement(row: dict[str, str], where: str) -> Measurement:
    up, rtt = _number(row, "up_mbps", where), _number(row, "rtt_ms", where)
    down = _number(row, "down_mbps", where) if row.get("down_mbps") else up
    return up * 1e6, down * 1e6, rtt * 1e-3


def _number(row: dict[str, str], key: str, where: str) -> float:
    low, high = LIMITS[key]
    try:
        value = float(row[key])
    except (TypeError, ValueError):
        value = math.nan
    if not low <= value <= high:
        raise AdvisorError(f"{where}: {key} = {row[key]} is not between {low:g} and {high:g}.", "Correct that line.")
    return value
