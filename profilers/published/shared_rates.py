"""Rates of all machines of a runtime at once: seven of each, which differ less from machine to machine than its speed.

A machine has some seven published networks, too few for seven rates of its own. ln rate = usual + runtime + machine is
therefore fitted to ln seconds, each part drawn towards 0 (a hierarchical model with normal priors; Gelman et al. 2013,
ch. 5, its mode by Gauss-Newton): what Winograd saves and what streaming weights costs has one sign on every machine of
a runtime, and is learnt on those where it shows. The usual ratios and how far they may move are round numbers, chosen
among about ten sets by the left-out error: twice as wide ones raise its 90th percentile from 37 to 42 % (ncnn) and from
45 to 63 % (Vulkan), and usual ratios that are far off do worse than rates of each machine alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.profilers.published.features import DEMANDS

USUAL = {
    "cpu": (1e5, 0.6, 1.0, 3.0, 4.0, 2.0, 1e4),
    "gpu": (1e7, 0.6, 1.0, 3.0, 20.0, 10.0, 1e7),
    "npu": (1e7, 1.0, 1.0, 5.0, 30.0, 30.0, 1e9),
}
"""Unit -> dense multiply-adds that take as long as one of each of `DEMANDS`."""

RUNTIME = np.array([2.0, 0.2, 0.01, 0.5, 0.5, 0.5, 1.0])
MACHINE = np.array([0.5, 0.1, 0.01, 0.2, 0.3, 0.3, 0.3])
"""Standard deviations of ln rate, in the order of `DEMANDS`; the speed of a machine itself is free."""

NOISE, OUTLYING = 0.12, 2.5
"""Standard deviation of ln seconds, and how many of them pull with full force (Huber)."""

MOST_STEPS, SETTLED = 200, 1e-7
FREE = 1e-6


@dataclass(frozen=True)
class Timed:
    """Published latencies of the machines of a runtime.

    Attributes:
        demands: `[points, 7]`.
        seconds: `[points]`.
        machine: `[points]` index of the machine, which is a device with a number of threads and a precision.
        precision: `[machines]` index: rates of a runtime are learnt for each precision.
        unit: `[machines]` keys of `USUAL`.
    """

    demands: np.ndarray
    seconds: np.ndarray
    machine: np.ndarray
    precision: np.ndarray
    unit: Sequence[str]


def fitted(timed: Timed, kept: np.ndarray, near: np.ndarray | None = None) -> np.ndarray:
    """ln rates `[machines, 7]`.

    Args:
        timed: the machines of one runtime.
        kept: `[points]` of bool: by which points.
        near: what all points gave, `mode(...)`, from where those that are kept are found sooner; None: from the usual.
    """
    layout = _Layout(len(timed.unit), timed.precision)
    moved: np.ndarray = _usual(timed) + layout.moved(mode(timed, kept, near))
    return moved


def mode(timed: Timed, kept: np.ndarray, near: np.ndarray | None = None) -> np.ndarray:
    """Parameters of `fitted`: each machine's speed, then what each precision and each machine adds to ln rates."""
    usual = _usual(timed)
    x, y, machine = timed.demands[kept], np.log(timed.seconds[kept]), timed.machine[kept]
    layout = _Layout(len(usual), timed.precision)
    pull, centre = layout.pull(), layout.centre(y - np.log((x * np.exp(usual[machine])).sum(1)), machine)

    def at(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Errors, shares of the demands in the time, and what is minimised."""
        parts = x * np.exp((usual + layout.moved(parameters))[machine])
        errors = (np.log(parts.sum(1)) - y) / NOISE
        size = np.abs(errors)
        far = size > OUTLYING
        misfit = np.where(far, OUTLYING * (size - OUTLYING / 2), size**2 / 2).sum()
        return errors, parts / parts.sum(1, keepdims=True), float(misfit + pull @ (parameters - centre) ** 2 / 2)

    found, damping = centre if near is None else near, 1e-4
    errors, shares, cost = at(found)
    for _ in range(MOST_STEPS):
        slopes = layout.slopes(shares, machine) / NOISE
        weighted = slopes * np.minimum(1.0, OUTLYING / np.maximum(np.abs(errors), OUTLYING))[:, None]
        curvature, downhill = weighted.T @ slopes + np.diag(pull), weighted.T @ errors + pull * (found - centre)
        trial = found - np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), downhill)
        reached = at(trial)
        if reached[2] > cost:
            damping *= 4
            continue
        settled = cost - reached[2] < SETTLED * cost
        found, (errors, shares, cost), damping = trial, reached, damping / 10
        if settled:
            break
    return found


def _usual(timed: Timed) -> np.ndarray:
    return np.log([USUAL[unit] for unit in timed.unit])


@dataclass(frozen=True)
class _Layout:
    """Where a vector of parameters holds each machine's speed, each precision's and each machine's deviations."""

    machines: int
    precision: np.ndarray

    @property
    def precisions(self) -> int:
        return int(self.precision.max()) + 1

    def pull(self) -> np.ndarray:
        """1 / variance of each parameter."""
        speeds = np.full(self.machines, FREE)
        deviations = [np.tile(RUNTIME**-2, self.precisions), np.tile(MACHINE**-2, self.machines)]
        return np.concatenate([speeds, *deviations])

    def centre(self, apart: np.ndarray, machine: np.ndarray) -> np.ndarray:
        """Usual ratios at the speed of each machine, from how far its points are from them."""
        found = np.zeros(len(self.pull()))
        known = {one: float(np.median(apart[machine == one])) for one in np.unique(machine)}
        middle = float(np.median(list(known.values())))
        found[: self.machines] = [known.get(one, middle) for one in range(self.machines)]
        return found

    def moved(self, parameters: np.ndarray) -> np.ndarray:
        """`[machines, 7]` in ln, from the usual ratios."""
        speeds, rest = parameters[: self.machines], parameters[self.machines :].reshape(-1, len(DEMANDS))
        moved: np.ndarray = speeds[:, None] + rest[self.precision] + rest[self.precisions :]
        return moved

    def slopes(self, shares: np.ndarray, machine: np.ndarray) -> np.ndarray:
        """`[points, parameters]` of ln seconds."""
        points, kinds = shares.shape
        speeds = (machine[:, None] == np.arange(self.machines)).astype(float)
        rest = np.zeros((points, self.precisions + self.machines, kinds))
        rest[np.arange(points), self.precision[machine]] = shares
        rest[np.arange(points), self.precisions + machine] = shares
        return np.hstack([speeds, rest.reshape(points, -1)])
