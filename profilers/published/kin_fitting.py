"""What devices without enough points of their own borrow: one fit for kin, by work in units of datasheet peaks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from advisor.profilers.machines.catalog import Device, device, devices
from advisor.profilers.published.least_squares import left_out, log_rms, solve
from advisor.profilers.published.published_points import KINSHIP, MIN_NETWORKS, Point, kinship


def fit_of_kin(group: list[Point]) -> dict[str, Any] | None:
    """A row of `fits.toml` for kin; None where there are too few points."""
    lenders = list(dict.fromkeys(p.device for p in group))
    if len({p.network for p in group}) < 2 or len(group) < MIN_NETWORKS:
        return None
    features, seconds, owners, weights = in_peaks(group)
    per_op, mac_factor, byte_factor = solve(features, seconds, weights)
    estimated = left_out(features, seconds, owners, weights) if len(lenders) > 1 else None
    return {
        **dict(zip(KINSHIP, kinship(group[0]), strict=True)),
        "devices": lenders,
        "seconds_per_op": float(per_op),
        "mac_factor": float(mac_factor),
        "byte_factor": float(byte_factor),
        "points": len(group),
        "lenders": len(lenders) if estimated is not None else 0,
        "left_out_log_rms": log_rms(estimated, seconds, weights) if estimated is not None else 0.0,
    }


def in_peaks(group: list[Point]) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Work in units of datasheet peaks, seconds, devices, and weights by which each device counts alike."""
    owners = [p.device for p in group]
    at = {name: device(f"{name}:{group[0].runtime}:{group[0].precision}") for name in owners}
    features = np.array([_point_in_peaks(p, at[p.device]) for p in group])
    weights = np.array([1 / math.sqrt(owners.count(name)) for name in owners])
    return features, np.array([p.seconds for p in group]), owners, weights


def with_peaks(all_points: list[Point]) -> list[Point]:
    """Points on devices whose datasheet describes the processor that ran them."""
    known = {d.name: d for d in devices()}
    kept = []
    for point in all_points:
        if point.device in known and known[point.device].unit == point.unit:
            at = device(f"{point.device}:{point.runtime}:{point.precision}")
            kept += [point] if math.isfinite(at.peak * at.bandwidth) else []
    return kept


def _point_in_peaks(point: Point, at: Device) -> tuple[float, float, float]:
    ops, macs, traffic = point.row()
    return ops, 2 * macs / at.peak, traffic / at.bandwidth
