"""Learning what a fit gets wrong about networks, from all machines of a runtime at once; see `resemblance.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.profilers.published.features import Work
from advisor.profilers.published.resemblance import LENGTH, NOISE, OWN, SHARED, spread, traits

LARGEST = 1.5
"""Residuals beyond, in ln, say that the fit broke down, not how the network differs: they count as this much."""

Named = tuple[str, str, Work]
Fitting = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Learnt:
    """Of one group of points, those of one machine.

    Attributes:
        left_out: `[points]` estimated seconds, the network of each left out of all groups.
        spread: `[points]` standard deviation of ln(measured / estimated) that its nearest network promises.
        neighbours: one row a network of the runtime: name and input, coefficient, whether measured on this machine.
    """

    left_out: np.ndarray
    spread: np.ndarray
    neighbours: list[list[Any]]


def learn(seconds: Sequence[np.ndarray], networks: Sequence[Sequence[Named]], fit: Fitting) -> list[Learnt]:
    """Correct the fit of each group, for every network as if it had never been measured anywhere.

    Args:
        seconds: of each group `[points]`, measured.
        networks: of each group, name, input and work of each point.
        fit: from which points are kept, over all groups, to ln of the estimate of every point.
    """
    group = np.repeat(np.arange(len(seconds)), [len(part) for part in seconds])
    flat = [named for part in networks for named in part]
    y, alike = np.log(np.concatenate(list(seconds))), _likeness([work for _, _, work in flat])
    names = np.array([name for name, _, _ in flat])
    estimated, sd = np.empty(len(y)), np.empty(len(y))
    for name in dict.fromkeys(names):
        out = names == name
        found, width = _without(out, y, group, alike, fit)
        estimated[out], sd[out] = found[out], width[out]
    everything = np.ones(len(y), dtype=bool)
    weights = _weights(alike, group, y - fit(everything), everything)
    return [
        Learnt(np.exp(estimated[group == g]), sd[group == g], _rows(flat, weights, group, g))
        for g in range(len(seconds))
    ]


def without(
    out: np.ndarray, seconds: np.ndarray, group: np.ndarray, works: Sequence[Work], fit: Fitting
) -> tuple[np.ndarray, np.ndarray]:
    """Estimated seconds `[points]` where the points of `out` (`[points]` of bool) were never measured, and spreads.

    Args:
        out: what is left out.
        seconds, group, works: of each point; `group` is the index of its machine.
        fit: as for `learn`.
    """
    estimated, sd = _without(out, np.log(seconds), group, _likeness(works), fit)
    return np.exp(estimated), sd


def _without(
    out: np.ndarray, y: np.ndarray, group: np.ndarray, alike: np.ndarray, fit: Fitting
) -> tuple[np.ndarray, np.ndarray]:
    base = fit(~out)
    estimated = base + _covariance(alike, group) @ _weights(alike, group, y - base, ~out)
    here = (group[:, None] == group) & ~out
    nearest, anywhere = (np.where(seen, alike, 0.0).max(1, initial=0.0) for seen in (here, ~out))
    return estimated, np.array([spread(*map(float, pair)) for pair in zip(nearest, anywhere, strict=True)])


def _likeness(works: Sequence[Work]) -> np.ndarray:
    at = [traits(work) for work in works]
    assert all(found is not None for found in at), "every published network computes something"
    points = np.array(at, dtype=float)
    squares = ((points[:, None, :] - points[None, :, :]) ** 2).sum(-1)
    result: np.ndarray = np.exp(-0.5 * squares / LENGTH**2)
    return result


def _covariance(alike: np.ndarray, group: np.ndarray) -> np.ndarray:
    own = group[:, None] == group[None, :]
    result: np.ndarray = alike * (SHARED**2 + OWN**2 * own)
    return result


def _weights(alike: np.ndarray, group: np.ndarray, residual: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(K + σ²·I)⁻¹·r over the points that are kept, 0 for the others."""
    covariance = _covariance(alike, group)[np.ix_(kept, kept)] + NOISE**2 * np.eye(int(kept.sum()))
    weights = np.zeros(len(residual))
    weights[kept] = np.linalg.solve(covariance, np.clip(residual[kept], -LARGEST, LARGEST))
    return weights


def _rows(flat: Sequence[Named], weights: np.ndarray, group: np.ndarray, g: int) -> list[list[Any]]:
    """Coefficients of one group's correction, network by network: points of the same network add up."""
    found: dict[str, list[Any]] = {}
    for (name, shape, _), weight, at in zip(flat, weights, group, strict=True):
        row = found.setdefault(f"{name} {shape}", [f"{name} {shape}", 0.0, False])
        row[1] += float(weight) * (SHARED**2 + OWN**2 * (at == g))
        row[2] = bool(row[2] or at == g)
    return [row for row in found.values() if abs(row[1]) >= 1e-4 or row[2]]
