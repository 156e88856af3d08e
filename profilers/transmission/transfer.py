"""Time on the link: serialisation, transfer and round trip, each on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.estimate import NORMAL_90, Estimate
from advisor.profilers.transmission.network import Link

COPY_RATE = 2.55e9
"""Bytes per second of a memory copy where the edge's own is unknown: a Raspberry Pi 4, the catalog's slowest."""

METHOD = "bytes over the rates of the link plus one round trip, connection open, rates taken as constant"


def serialisation(count: float, copy_rate: float = COPY_RATE) -> float:
    """Seconds to pack and unpack a payload: one memory copy on each side, both at the edge's rate.

    Args:
        count: bytes.
        copy_rate: bytes per second of a memory copy; NaN is taken as `COPY_RATE`.
    """
    return 2 * count / (COPY_RATE if math.isnan(copy_rate) else copy_rate)


def upload(link: Link, count: float) -> float:
    """Seconds the payload is on its way up; beyond one message a duty cycle makes the sender wait."""
    share = link.duty_cycle if count > link.max_payload else 1.0
    return 8 * count / link.up / share


def download(link: Link, count: float) -> float:
    """Seconds the answer is on its way down."""
    return 8 * count / link.down


@dataclass(frozen=True)
class Transfer:
    """Where the time of one exchange goes, in seconds: packing and unpacking, on the way up, round trip, down."""

    serialisation: float
    upload: float
    round_trip: float
    download: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.serialisation + self.upload + self.round_trip + self.download


def transfer(link: Link, count: float, answer: float = 0.0, copy_rate: float = COPY_RATE) -> Transfer:
    """The parts of `transfer_time`, at the link's usual rates."""
    if count == 0:
        return Transfer(0.0, 0.0, 0.0, 0.0)
    return Transfer(serialisation(count + answer, copy_rate), upload(link, count), link.rtt, download(link, answer))


def percentile(link: Link, count: float, share: float, answer: float = 0.0, copy_rate: float = COPY_RATE) -> float:
    """Seconds within which this share of the exchanges of a traced link are over; NaN without a trace."""
    if not link.trace:
        return math.nan
    return _percentiles(link, count, (share,), answer, copy_rate)[0]


def _percentiles(link: Link, count: float, shares: Sequence[float], answer: float, copy_rate: float) -> list[float]:
    """Of all measurements at once: a trace may have millions."""
    up, down, rtt = np.array(link.trace).T
    if count == 0:
        return [0.0] * len(shares)
    on_air = 8 * count / up / (link.duty_cycle if count > link.max_payload else 1.0)
    times = serialisation(count + answer, copy_rate) + on_air + rtt + 8 * answer / down
    found: list[float] = np.quantile(times, shares).tolist()
    return found


def payload_within(link: Link, seconds: float, answer: float = 0.0, copy_rate: float = COPY_RATE) -> float:
    """The most bytes whose exchange takes no longer than so many seconds; 0 where not even one does."""
    rest = seconds - link.rtt - download(link, answer) - serialisation(answer, copy_rate)
    per_byte = serialisation(1.0, copy_rate)
    freely = rest / (per_byte + 8 / link.up)
    if freely > link.max_payload:  # beyond one message the duty cycle counts for every byte
        freely = max(link.max_payload, rest / (per_byte + 8 / link.up / link.duty_cycle))
    return max(0.0, math.floor(freely))


def transfer_time(link: Link, count: float, answer: float = 0.0, copy_rate: float = COPY_RATE) -> Estimate:
    """Seconds from handing a payload to the link until the answer is back, the cloud's work left out.

    Args:
        link: the network.
        count: bytes sent up for one sample, as they are on the wire; 0 sends nothing and takes no time.
        answer: bytes that come back.
        copy_rate: bytes per second of a memory copy on the edge; NaN where unknown.

    Returns:
        The time; its interval covers the jitter and, where the round trip was assumed, the range it was assumed from.
    """
    if count == 0:
        return Estimate.exact(0.0, "s", "estimated", "nothing is sent")
    if link.trace:
        middle, low, high = _percentiles(link, count, (0.5, 0.05, 0.95), answer, copy_rate)
        method = f"{METHOD}; median and 5th to 95th percentile of {link.stands_for}"
        return Estimate(middle, (high - low) / (2 * NORMAL_90), low, high, "s", "estimated", method)
    seconds = transfer(link, count, answer, copy_rate).total
    low = max(0.0, seconds - link.jitter - (link.rtt - link.rtt_low))
    high = seconds + link.jitter + (link.rtt_high - link.rtt)
    method = "; ".join((METHOD, *link.assumed))
    return Estimate(seconds, (high - low) / (2 * NORMAL_90), low, high, "s", "estimated", method)
