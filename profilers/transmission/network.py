"""Link: the network between edge and cloud, from a preset or from what the user measured."""

from __future__ import annotations

import dataclasses
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from advisor.errors import AdvisorError
from advisor.profilers.facts import Table, check_keys, figure, nearest, shipped
from advisor.profilers.machines.catalog import tables
from advisor.profilers.transmission.network_trace import read_trace
from advisor.units import RATES, duration, rate

_FIGURES = (
    "up_mbps", "down_mbps", "rtt_ms", "jitter_ms", "tx_mw_per_mbps", "rx_mw_per_mbps", "radio_base_mw", "duty_cycle",
    "max_payload_bytes",
)  # fmt: skip
_KEYS = (*_FIGURES, "family", "energy_model", "confidence", "source", "note")
_OPTIONS = ("bandwidth", "rtt", "down", "jitter", "compress", "trace")


@dataclass(frozen=True)
class Link:
    """A network as the edge sees it.

    Attributes:
        name: row of the catalog, or the user's own words.
        up, down: bits per second.
        rtt, rtt_low, rtt_high: round trip in seconds, and the range it was assumed from (equal when it was given).
        jitter: seconds the round trip may deviate either way.
        duty_cycle: share of the time the edge may send, once a message is longer than `max_payload` bytes.
        tx_power, rx_power: radio power in watts while sending at `up` and receiving at `down`; NaN unknown.
        compression: "zlib" where what is sent is compressed, else "".
        trace: (up, down, rtt) as measured one after the other; figures above are then their medians.
        assumed: what no source gives and was assumed, one sentence each.
    """

    name: str
    up: float
    down: float
    rtt: float
    rtt_low: float
    rtt_high: float
    jitter: float = 0.0
    duty_cycle: float = 1.0
    max_payload: float = math.inf
    tx_power: float = math.nan
    rx_power: float = math.nan
    compression: str = ""
    trace: tuple[tuple[float, float, float], ...] = ()
    assumed: tuple[str, ...] = ()
    family: str = ""
    stands_for: str = ""
    confidence: str = ""
    source: str = ""
    note: str = ""

    def __str__(self) -> str:
        return self.name


def links(extra: str | Path | None = None) -> tuple[Link, ...]:
    """Every link of the catalog, aliases included; `extra` is the user's own TOML, in the form of `links.toml`."""
    rows, aliases = tables("links.toml", "links", extra)
    return tuple(link(name, extra) for name in (*aliases, *rows))


def link(text: str, extra: str | Path | None = None) -> Link:
    """A preset's name, `[bandwidth=]20Mbps,rtt=15ms[,down=…,jitter=…]`, or a preset with some of these replaced.

    `trace=FILE.csv` takes measured figures, see `network_trace.read_trace`; `compress=zlib` compresses what is sent.

    Raises:
        AdvisorError: on an unknown name (the nearest are named), a missing round trip or an absurd figure.
    """
    head, *options = [part.strip() for part in str(text).split(",")]
    if _is_rate(head):
        head = f"bandwidth={head}"
    if "=" not in head:
        preset = _preset(head, extra)
        return _changed(preset, str(text), options) if options else preset
    compression, rest = _compression(str(text), [head, *options])
    traces = [part.partition("=")[2] for part in rest if part.startswith("trace=")]
    if traces:
        if len(rest) > 1:
            raise AdvisorError(f"{text!r}: a trace tells the rates and the round trip.", "Leave the others out.")
        return dataclasses.replace(traced(str(text), traces[0]), compression=compression)
    return dataclasses.replace(_given(str(text), rest), compression=compression)


def _is_rate(text: str) -> bool:
    """Whether it is a rate with its unit, such as `20Mbps`."""
    return text.lower().endswith(tuple(RATES)) and text[:1].isdecimal()


def _compression(text: str, parts: list[str]) -> tuple[str, list[str]]:
    """The codec that was asked for, and the other options."""
    found = [part.partition("=")[2].strip() for part in parts if part.partition("=")[0].strip() == "compress"]
    for name in found:
        if name != "zlib":
            raise AdvisorError(f"{text!r}: there is no codec {name!r}.", "Write compress=zlib.")
    return (found[-1] if found else ""), [p for p in parts if p.partition("=")[0].strip() != "compress"]


def traced(text: str, path: str) -> Link:
    """A link as it was measured: medians of the trace, which is kept for percentiles.

    Raises:
        AdvisorError: when the file is no trace.
    """
    trace = read_trace(path)
    up, down, rtt = (statistics.median(row[i] for row in trace) for i in range(3))
    return Link(
        text, up, down, rtt, rtt, rtt, trace=trace, stands_for=f"{len(trace)} measurements of {path}",
        confidence="measured", source=f"trace {path}",
    )  # fmt: skip


def _preset(name: str, extra: str | Path | None) -> Link:
    rows, aliases = tables("links.toml", "links", extra)
    stands_for, row_name = "", name
    if name in aliases:
        stands_for, row_name = aliases[name]["stands_for"], aliases[name]["link"]
    if row_name not in rows:
        raise AdvisorError(
            f"There is no link {name!r}.", nearest(name, (*aliases, *rows)) + " Or bandwidth=20Mbps,rtt=15ms."
        )
    return _from_row(row_name, rows[row_name], stands_for)


def _from_row(name: str, row: Table, stands_for: str) -> Link:
    where = f"Link {name!r}"
    check_keys(row, _KEYS, where)
    figures = {key: figure(row, key, where) for key in _FIGURES}
    if math.isnan(figures["up_mbps"]):
        raise AdvisorError(f"{where} has no up_mbps.", "Give the rate from the edge to the cloud.")
    assumed: list[str] = []
    up, down = figures["up_mbps"] * 1e6, figures["down_mbps"] * 1e6
    if math.isnan(down):
        down = up
        assumed.append("no source gives the rate down: the rate up was taken")
    rtt, low, high = _round_trip(row, where, figures["rtt_ms"], assumed)
    return Link(
        name, up, down, rtt, low, high,
        jitter=_or(figures["jitter_ms"] * 1e-3, 0.0),
        duty_cycle=_or(figures["duty_cycle"], 1.0),
        max_payload=_or(figures["max_payload_bytes"], math.inf),
        tx_power=_power(figures["tx_mw_per_mbps"], figures["radio_base_mw"], up),
        rx_power=_power(figures["rx_mw_per_mbps"], figures["radio_base_mw"], down),
        assumed=tuple(assumed),
        family=row.get("family", ""),
        stands_for=stands_for or row.get("note", "") or name,
        confidence=row.get("confidence", ""),
        source=row.get("source", ""),
        note=row.get("note", ""),
    )  # fmt: skip


def _round_trip(row: Table, where: str, rtt_ms: float, assumed: list[str]) -> tuple[float, float, float]:
    """Round trip, its low and its high, in seconds; assumed by family where the row has none."""
    if not math.isnan(rtt_ms):
        return rtt_ms * 1e-3, rtt_ms * 1e-3, rtt_ms * 1e-3
    table = shipped("links.toml")["assumed_rtt"]
    if row.get("family") not in table:
        raise AdvisorError(f"{where} has no rtt_ms.", "Add it: a round trip is never free.")
    usual = table[row["family"]]
    rtt, low, high = (figure(usual, key, "assumed_rtt") * 1e-3 for key in ("rtt_ms", "low_ms", "high_ms"))
    assumed.append(f"no source gives the round trip: {rtt * 1e3:g} ms assumed ({low * 1e3:g} to {high * 1e3:g})")
    return rtt, low, high


def _power(slope_mw_per_mbps: float, base_mw: float, bits_per_second: float) -> float:
    """P = slope · rate + base (Huang et al., MobiSys 2012); a row with a base alone is a constant-power model."""
    return (_or(slope_mw_per_mbps, 0.0) * bits_per_second / 1e6 + base_mw) * 1e-3


def _or(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


def _options(text: str, parts: list[str]) -> dict[str, float]:
    found = {}
    for part in parts:
        key, _, value = part.partition("=")
        key = "bandwidth" if key.strip() == "up" else key.strip()
        if key not in _OPTIONS or key == "trace":
            raise AdvisorError(f"{text!r}: a link has no {key!r}.", f"It has {', '.join(_OPTIONS)}.")
        number = rate(value) if key in ("bandwidth", "down") else duration(value)
        if key in ("bandwidth", "down") and number <= 0:
            raise AdvisorError(f"{text!r}: {key} must be above zero.", "Such as bandwidth=20Mbps.")
        found[key] = number
    return found


def _given(text: str, parts: list[str]) -> Link:
    options = _options(text, parts)
    missing = [key for key in ("bandwidth", "rtt") if key not in options]
    if missing:
        raise AdvisorError(f"{text!r} gives no {missing[0]}.", "Write bandwidth=20Mbps,rtt=15ms, with your figures.")
    up, rtt = options["bandwidth"], options["rtt"]
    assumed = () if "down" in options else ("no rate down given: the rate up was taken",)
    return Link(
        text, up, options.get("down", up), rtt, rtt, rtt, options.get("jitter", 0.0),
        assumed=assumed, stands_for="as given", confidence="given", source="the user",
    )  # fmt: skip


def _changed(preset: Link, text: str, parts: list[str]) -> Link:
    compression, parts = _compression(text, parts)
    options = _options(text, parts)
    up, down = options.get("bandwidth", preset.up), options.get("down", preset.down)
    changes: dict[str, object] = {"name": text, "up": up, "down": down, "jitter": options.get("jitter", preset.jitter)}
    changes["compression"] = compression
    if "rtt" in options:
        changes |= {"rtt": options["rtt"], "rtt_low": options["rtt"], "rtt_high": options["rtt"]}
        changes["assumed"] = tuple(sentence for sentence in preset.assumed if "round trip" not in sentence)
    if (up, down) != (preset.up, preset.down):
        changes |= {"tx_power": math.nan, "rx_power": math.nan}
    return dataclasses.replace(preset, **changes, stands_for=f"{preset.stands_for}, changed by the user")  # type: ignore[arg-type]
