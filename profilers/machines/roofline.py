"""Estimated time on a catalog device: overhead per operation, compute and memory traffic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from advisor.estimate import Estimate
from advisor.profilers.halves.half_latency import Halves, bounded
from advisor.profilers.machines.catalog import Device
from advisor.profilers.published.features import Work, cloud_work, edge_work
from advisor.profilers.published.fits import Fit, fit_for

PARTS_NOTE = "the interval was learnt on whole networks: a part of one may deviate more"


def halves(pieces: Sequence[Work], device: Device, bound: str = "") -> Halves:
    """Estimated times of both halves at every cut.

    Args:
        pieces: work between neighbouring cuts, as `features.piece_work`.
        device: a catalog device.
        bound: what makes the multiply-adds, and with them the times, lower bounds; "" where nothing does.

    Raises:
        AdvisorError: when no published latency, of this device or of its kin, supports an estimate.
    """
    whole = edge_work(pieces)[-1]
    fit = fit_for(device).adapted(whole)
    edge = tuple(bounded(seconds(work, fit), bound) for work in edge_work(pieces))
    cloud = tuple(bounded(seconds(work, fit), bound) for work in cloud_work(pieces))
    why = "the multiply-adds could not be counted" if math.isnan(edge[-1].value) else ""
    return Halves(edge, cloud, (f"{device.key}: {fit.basis}; {PARTS_NOTE}",), why)


def added(device: Device, whole: Work) -> Callable[[Work], Estimate]:
    """Estimated seconds of work that is added to a network, by the fit that is adapted to that network.

    Args:
        device: a catalog device.
        whole: work of the network.

    Raises:
        AdvisorError: as `halves`.
    """
    fit = fit_for(device).adapted(whole)
    return lambda work: seconds(work, fit)


def seconds(work: Work, fit: Fit) -> Estimate:
    """Estimated seconds for one sample, with the interval of networks left out of the fit."""
    value = fit.seconds(work)
    low, high = fit.interval(value)
    return Estimate(value, value * fit.log_sd, low, high, "s", "estimated", fit.basis)
