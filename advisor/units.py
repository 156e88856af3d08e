"""Durations, shares, sizes and rates as people write them, into SI."""

from __future__ import annotations

import math
import re

from advisor.errors import AdvisorError

DURATIONS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
SHARES = {"%": 0.01, "pp": 0.01, "": 1.0}
SIZES = {
    "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
ENERGIES = {"kj": 1e3, "j": 1.0, "mj": 1e-3, "uj": 1e-6, "µj": 1e-6}
COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
RATES = {"bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9}

LONGEST = 64
"""Characters of the longest text that is read as a quantity."""

_QUANTITY = re.compile(r"\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Zµ%]*)\s*")


def duration(text: str | float) -> float:
    """Seconds from `50ms`, `0.05s`, `2min`; a bare number is seconds."""
    return _parse(text, {**DURATIONS, "": 1.0}, "a duration such as 50ms or 0.2s")


def latency(text: str | float) -> float:
    """A duration; a bare number is seconds, but of a text below 1 alone: who writes 50 of a latency mostly means ms."""
    value = duration(text)
    if value >= 1 and isinstance(text, str) and not _QUANTITY.fullmatch(text)[2]:  # type: ignore[index]
        raise AdvisorError(f"{text!r} states no unit.", f"Write {text.strip()}ms or {text.strip()}s.")
    return value


def share(text: str | float) -> float:
    """A fraction from `2%` or `0.02`."""
    return _parse(text, SHARES, "a share such as 2% or 0.02")


def fraction(text: str | float) -> float:
    """A share from 0 to 1: `2%` or `0.02`."""
    value = share(text)
    if value > 1:
        raise AdvisorError(f"{text!r} is above 1.", "Write a share from 0 to 1, such as 0.3 or 2%.")
    return value


def size(text: str | float) -> float:
    """Bytes from `1GiB`, `500MB`; a bare number is bytes."""
    return _parse(text, {**SIZES, "": 1.0}, "a size such as 1GiB or 500MB")


def samples(text: str | float) -> int:
    """A whole number of samples from `8000`, `8,000` or `1e6`, one or more."""
    try:
        value = float(str(text).replace(",", ""))
    except ValueError:
        value = math.nan
    if not 1 <= value <= 1e12 or value != int(value):
        raise AdvisorError(f"{str(text)[:40]!r} is no number of samples.", "Write a whole number such as 8000 or 1e6.")
    return int(value)


def rate(text: str | float) -> float:
    """Bits per second from `20Mbps`; a bare number is bits per second."""
    return _parse(text, {**RATES, "": 1.0}, "a rate such as 20Mbps")


def energy(text: str | float) -> float:
    """Joules from `20mJ`, `0.02J`; a bare number is joules."""
    return _parse(text, {**ENERGIES, "": 1.0}, "an energy such as 20mJ or 0.5J")


def count(text: str | float) -> float:
    """A count from `50M`, `1.2G`, `3000`."""
    return _parse(text, COUNTS, "a count such as 50M or 3000")


def per_second(text: str | float) -> float:
    """A rate of inputs from `30/s`; a bare number is a second's."""
    written = text.strip().removesuffix("/s") if isinstance(text, str) else text
    return _parse(written, {"": 1.0}, "a number a second such as 30/s")


def number(text: str | float) -> float:
    """A number, 0 or more."""
    return _parse(text, {"": 1.0}, "a number, 0 or more")


def _parse(text: str | float, units: dict[str, float], expected: str) -> float:
    written = str(text)
    match = _QUANTITY.fullmatch(written) if len(written) <= LONGEST else None
    unit = match.group(2) if match else ""
    factor = units.get(unit, units.get(unit.lower()))
    if match is None or factor is None or float(match.group(1)) < 0 or not math.isfinite(float(match.group(1))):
        said = repr(text) if len(written) <= LONGEST else f"{written[:LONGEST]!r}…"
        raise AdvisorError(f"{said} is not {expected}.")
    return float(match.group(1)) * factor


SCALES: dict[str, tuple[tuple[str, float], ...]] = {
    "s": (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)),
    "J": (("kJ", 1e3), ("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)),
    "B": (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0)),
    "count": (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)),
    "bit/s": (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3), ("bit/s", 1.0)),
}
"""SI unit -> the units in which its values are written, largest first."""


def show_duration(seconds: float) -> str:
    """`0.0123` as `12.3 ms`."""
    return shown_in(seconds, *scale(seconds, "s"))


def show_size(count: float) -> str:
    """`150528` as `147 KiB`."""
    return shown_in(count, *scale(count, "B"))


def show_energy(joules: float) -> str:
    """`0.0206` as `20.6 mJ`."""
    return shown_in(joules, *scale(joules, "J"))


def show_count(value: float) -> str:
    """`41200000` as `41.2 M`."""
    return shown_in(value, *scale(value, "count")).strip()


def show_rate(bits_per_second: float) -> str:
    """`2e7` as `20 Mbit/s`."""
    return shown_in(bits_per_second, *scale(bits_per_second, "bit/s"))


def show_per_second(value: float) -> str:
    """`31.25` as `31.2/s`."""
    return f"{digits(value)}/s"


def scale(value: float, unit: str) -> tuple[str, float]:
    """The largest unit of which there is at least one when rounded to three digits, and how much it is.

    Args:
        value: in `unit`; minutes are used from 100 s on.
        unit: "s", "B", "J", "count" or "bit/s".
    """
    for name, factor in SCALES[unit]:
        short = name in ("min", "h") and abs(value) < max(100.0, factor)
        if abs(float(f"{value / factor:.3g}")) >= 1 and not short:
            break
    return name, factor


def shown_in(value: float, unit: str, factor: float) -> str:
    """`0.0123` in `("ms", 1e-3)` as `12.3 ms`."""
    number = value / factor
    return f"{number:.0f} {unit}" if abs(number) >= 100 else f"{number:.3g} {unit}"


def show_share(fraction: float) -> str:
    """`0.0123` as `1.23 %`."""
    return f"{100 * fraction:.3g} %"


def show_points(fraction: float) -> str:
    """`0.0123` as `1.23 pp`: percentage points."""
    return f"{digits(100 * fraction)} pp"


def digits(value: float) -> str:
    """Three significant digits: 0.0712, 1.50, 1230, 4.56e-07."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.2e}")
    power = math.floor(math.log10(abs(rounded)))
    if not -4 <= power < 6:
        return f"{value:.2e}"
    return f"{rounded:.{max(0, 2 - power)}f}"


def show_ratio(value: float) -> str:
    """A number on a scale of 0 to 1: three significant digits, but no more than three decimals unless that hides it."""
    return f"{value:.3f}" if 5e-4 <= abs(value) < 0.1 else digits(value)
