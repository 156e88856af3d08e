"""Reading TOML facts: every figure is a positive, finite, plausible number, or the file is refused in one line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError
from advisor.support.documents import read_toml

FOLDER = Path(__file__).parent

LIMITS: Mapping[str, tuple[float, float]] = {
    "fp32_tflops": (1e-6, 1e6),
    "fp16_tflops": (1e-6, 1e6),
    "int8_tops": (1e-6, 1e6),
    "bandwidth_gbs": (1e-3, 1e6),
    "copy_gbs": (1e-3, 1e6),
    "memory_gb": (1e-6, 1e6),
    "idle_w": (0.0, 1e5),
    "active_w": (1e-3, 1e5),
    "up_mbps": (1e-6, 1e7),
    "down_mbps": (1e-6, 1e7),
    "rtt_ms": (0.0, 1e6),
    "low_ms": (0.0, 1e6),
    "high_ms": (0.0, 1e6),
    "jitter_ms": (0.0, 1e6),
    "tx_mw_per_mbps": (0.0, 1e6),
    "rx_mw_per_mbps": (0.0, 1e6),
    "radio_base_mw": (0.0, 1e6),
    "duty_cycle": (1e-6, 1.0),
    "max_payload_bytes": (1.0, 1e9),
}
"""Figure -> lowest and highest plausible value, in the unit of its name."""

SECTIONS = ("devices", "links", "calibrations")
TEXTS = ("kind", "unit", "default", "stands_for", "compute_basis", "family", "energy_model", "confidence", "source",
         "note")  # fmt: skip
COMPARE = "Compare it with devices.toml of this package."

Table = Mapping[str, Any]


@cache
def shipped(name: str) -> Table:
    """One of the catalog's own files, parsed."""
    return read(FOLDER / name)


def read(path: str | Path) -> Table:
    """Parse a TOML file of devices, links or calibrations.

    Raises:
        AdvisorError: when it is missing, no TOML, or its rows are no tables of texts and figures.
    """
    found = read_toml(path, COMPARE)
    for section in SECTIONS:
        rows = found.get(section, {})
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise AdvisorError(f"{path}: [{section}] holds something else than rows.", COMPARE)
        for name, row in rows.items() if section != "calibrations" else ():
            for key, value in row.items():
                if not isinstance(value, dict if key == "modes" else str if key in TEXTS else object):
                    raise AdvisorError(f"{path}: {key} = {value!r:.60} of {name!r:.60} makes no sense.", COMPARE)
    return found


def figure(row: Table, key: str, where: str, scale: float = 1.0) -> float:
    """One figure of a row times `scale`; NaN where the row has none.

    Raises:
        AdvisorError: when it is no number, or outside `LIMITS`.
    """
    if key not in row:
        return math.nan
    value, (low, high) = row[key], LIMITS[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise AdvisorError(f"{where}: {key} = {value} is not between {low:g} and {high:g}.", "Correct that line.")
    return float(value) * scale


def check_keys(row: Table, known: Iterable[str], where: str) -> None:
    """Refuse a key that nobody reads: a misspelt figure would otherwise count as unknown.

    Raises:
        AdvisorError: naming the nearest known key.
    """
    known = tuple(known)
    for key in row:
        if key not in known:
            raise AdvisorError(f"{where}: unknown key {key!r}.", nearest(key, known))


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest known names, or all of them."""
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near += [other for other in known if name and (name in other or other in name) and other not in near][
        : 5 - len(near)
    ]
    return f"Did you mean {', '.join(near)}?" if near else f"Known: {', '.join(known)}."
