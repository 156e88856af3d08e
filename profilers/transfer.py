"""Time on the link: serialisation, transfer and round trip, each on its own."""

from __future__ import annotations

import math

from advisor.estimate import NORMAL_90, Estimate
from advisor.profilers.network import Link

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
    seconds = serialisation(count + answer, copy_rate) + upload(link, count) + link.rtt + download(link, answer)
    low = max(0.0, seconds - link.jitter - (link.rtt - link.rtt_low))
    high = seconds + link.jitter + (link.rtt_high - link.rtt)
    method = "; ".join((METHOD, *link.assumed))
    return Estimate(seconds, (high - low) / (2 * NORMAL_90), low, high, "s", "estimated", method)
