from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from advisor.profilers.published.features import DEMANDS
from advisor.profilers.published.shared_rates import FREE, MACHINE, NOISE, OUTLYING, RUNTIME, USUAL, Timed, fitted

KINDS = len(DEMANDS)


def timed(machines: int, points: int, seed: int = 0) -> tuple[Timed, np.ndarray]:
    """Machines of one runtime whose ratios are not the usual ones, and their rates; times err by 1 %."""
    draw = np.random.default_rng(seed)
    ratios = np.log(USUAL["cpu"]) + 0.5 * RUNTIME * draw.standard_normal(KINDS)
    rates = np.exp(
        draw.uniform(-24, -20, (machines, 1)) + ratios + 0.3 * MACHINE * draw.standard_normal((machines, KINDS))
    )
    demands = draw.lognormal(0, 2, (machines, points, KINDS)) / np.array(USUAL["cpu"])
    seconds = (demands * rates[:, None]).sum(-1) * draw.lognormal(0, 0.01, (machines, points))
    machine = np.repeat(np.arange(machines), points)
    flat = demands.reshape(-1, KINDS), seconds.ravel(), machine, np.zeros(machines, dtype=int), ["cpu"] * machines
    return Timed(*flat), rates


def test_the_mode_is_that_of_a_general_minimiser() -> None:
    found, _ = timed(2, 6)
    usual, kept = np.log(USUAL["cpu"]), np.arange(12) != 3

    def cost(parameters: np.ndarray) -> float:
        speed, shared, own = parameters[:2], parameters[2 : 2 + KINDS], parameters[2 + KINDS :].reshape(2, KINDS)
        total = FREE * speed @ speed / 2 + ((shared / RUNTIME) ** 2).sum() / 2 + ((own / MACHINE) ** 2).sum() / 2
        for i in np.flatnonzero(kept):
            rates = np.exp(usual + speed[found.machine[i]] + shared + own[found.machine[i]])
            off = abs(np.log(found.demands[i] @ rates / found.seconds[i])) / NOISE
            total += off**2 / 2 if off < OUTLYING else OUTLYING * (off - OUTLYING / 2)
        return float(total)

    start = np.concatenate([np.full(2, -22.0), np.zeros(3 * KINDS)])
    mode = minimize(cost, start, method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 10**6, "ftol": 1e-13}).x
    rates = usual + mode[:2, None] + mode[2 : 2 + KINDS] + mode[2 + KINDS :].reshape(2, KINDS)
    assert fitted(found, kept) == pytest.approx(rates, abs=0.02)


def test_what_one_machine_shows_holds_for_another() -> None:
    """Fully connected weights are dear on five machines; the sixth has no network that has many, and is told so."""
    found, rates = timed(6, 8)
    connected = DEMANDS.index("connected")
    sixth = found.machine == 5
    found.demands[sixth, connected] = 1e-12
    found.seconds[sixth] = found.demands[sixth] @ rates[5]
    told = fitted(found, np.ones(len(found.seconds), dtype=bool))[5]
    shown, usual = np.log(rates[:5]), np.log(USUAL["cpu"])
    expected = np.median((shown - shown.mean(1, keepdims=True))[:, connected] - (usual - usual.mean())[connected])
    off = (told - told.mean())[connected] - (usual - usual.mean())[connected]
    assert off == pytest.approx(expected, abs=0.3)
    assert abs(expected) > 0.1


def test_points_that_are_left_out_are_not_looked_at_and_outliers_pull_little() -> None:
    found, rates = timed(3, 12)
    kept = np.arange(36) != 5
    before = fitted(found, kept)
    found.seconds[5] *= 100
    assert fitted(found, kept) == pytest.approx(before)
    alone = fitted(found, np.ones(36, dtype=bool))
    assert np.abs(alone[1:] - before[1:]).max() < 0.2
    estimated = (found.demands * np.exp(alone[found.machine])).sum(1)[kept]
    assert np.median(np.abs(np.log(estimated / found.seconds[kept]))) < 0.1
    assert np.isfinite(rates).all()


def test_a_machine_without_points_has_the_speed_in_the_middle() -> None:
    found, _ = timed(3, 6)
    rates = fitted(found, found.machine != 1)
    assert min(rates[0, 2], rates[2, 2]) - 1 < rates[1, 2] < max(rates[0, 2], rates[2, 2]) + 1
