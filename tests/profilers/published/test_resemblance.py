from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from advisor.graph import PartitionGraph
from advisor.profilers import estimate
from advisor.profilers.machines.catalog import device
from advisor.profilers.multiply_adds.counting import count
from advisor.profilers.published.features import Work, edge_work, piece_work
from advisor.profilers.published.fits import fit_for
from advisor.profilers.published.kriging import learn
from advisor.profilers.published.least_squares import solve
from advisor.profilers.published.resemblance import LENGTH, NOISE, OWN, SHARED, Neighbours, likeness, spread, traits

WORKS = [Work(10 + i, 1e8 * (1 + i), 1e6 * (2 + i % 3), 1e6, depthwise=i % 4, pointwise=2e7 * i) for i in range(9)]


def timed(works: list[Work], scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features and times that the three parameters do not explain fully."""
    x = np.array([(w.ops, w.macs, w.weights) for w in works])
    return x, scale * (x @ [1e-4, 1e-11, 1e-9]) * np.exp([0.3 * math.sin(w.ops) for w in works])


def least_squares(*parts: tuple[np.ndarray, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A fit of three parameters a machine, each of its own."""
    starts = np.cumsum([0, *(len(seconds) for _, seconds in parts)])

    def fit(kept: np.ndarray) -> np.ndarray:
        here = [kept[start : start + len(y)] for start, (_, y) in zip(starts, parts, strict=False)]
        return np.concatenate([np.log(x @ solve(x[k], y[k])) for k, (x, y) in zip(here, parts, strict=True)])

    return fit


def test_one_machine_alone_is_a_gaussian_process_as_sklearn_has_it() -> None:
    x, seconds = timed(WORKS)
    found = learn([seconds], [[(f"n{i}", "s", w) for i, w in enumerate(WORKS)]], least_squares((x, seconds)))[0]
    at = np.array([traits(w) for w in WORKS])
    for out in range(len(WORKS)):
        kept = np.arange(len(WORKS)) != out
        base = np.log(x @ solve(x[kept], seconds[kept]))
        kernel = ConstantKernel(SHARED**2 + OWN**2, "fixed") * RBF(LENGTH, "fixed")
        process = GaussianProcessRegressor(kernel, alpha=NOISE**2, optimizer=None)
        process.fit(at[kept], np.log(seconds[kept]) - base[kept])
        assert np.log(found.left_out[out]) == pytest.approx(base[out] + process.predict(at[[out]])[0])


def test_what_is_shipped_gives_what_was_learnt() -> None:
    """Neighbours hold a machine's whole correction, that of another machine of the runtime included."""
    first, second = timed(WORKS), timed(WORKS[:6], 3.0)
    names = [[(f"n{i}", "s", w) for i, w in enumerate(works)] for works in (WORKS, WORKS[:6])]
    found = learn([first[1], second[1]], names, least_squares(first, second))[1]
    labels, coefficients, measured = zip(*found.neighbours, strict=True)
    works = {f"n{i} s": w for i, w in enumerate(WORKS)}
    near = Neighbours(labels, tuple(traits(works[n]) for n in labels), coefficients, measured)
    assert sum(measured) == 6
    points = [(0, w) for w in WORKS] + [(1, w) for w in WORKS[:6]]
    residual = [
        math.log(y) - math.log(row @ solve(x, seconds))
        for x, seconds in (first, second)
        for row, y in zip(x, seconds, strict=True)
    ]

    def covariance(i: int, w: Work, j: int, v: Work) -> float:
        return likeness(traits(w), traits(v)) * (SHARED**2 + (OWN**2 if i == j else 0))  # type: ignore[arg-type]

    matrix = [[covariance(i, w, j, v) for j, v in points] for i, w in points]
    weights = np.linalg.solve(np.array(matrix) + NOISE**2 * np.eye(15), residual)
    new = Work(14.5, 3e8, 2e6, 1e6, depthwise=1, pointwise=5e7)
    expected = sum(weight * covariance(1, new, j, v) for weight, (j, v) in zip(weights, points, strict=True))
    assert math.log(near.factor(new)) == pytest.approx(expected, abs=1e-3)
    assert near.nearest(WORKS[2]) == (pytest.approx(1.0), "n2 s")


def test_a_network_that_is_left_out_is_not_looked_at() -> None:
    x, seconds = timed(WORKS)
    changed = seconds.copy()
    changed[3] *= 10
    names = [[(f"n{i}", "s", w) for i, w in enumerate(WORKS)]]
    before, after = (learn([y], names, least_squares((x, y)))[0].left_out[3] for y in (seconds, changed))
    assert before == pytest.approx(after)


def test_far_from_everything_nothing_is_corrected_and_the_interval_is_widest() -> None:
    fit = fit_for(device("jetson-nano:tensorrt:fp16"))
    strange = Work(3, 10, 4e9, 2, attention=3)
    adapted = fit.adapted(strange)
    assert adapted.seconds(strange) == pytest.approx(fit.seconds(strange))
    assert adapted.half_width == pytest.approx(fit.half_width * spread(0.0))
    assert fit.adapted(Work(1, 0, 0, 5)).rates == fit.rates
    assert spread(1.0) == NOISE < spread(0.5) < spread(0.0)
    assert spread(0.0, 1.0) == pytest.approx(math.hypot(NOISE, OWN))  # measured on another machine of the runtime
    assert spread(0.5, 0.2) == spread(0.5)


def test_likeness() -> None:
    a, b = traits(WORKS[0]), traits(WORKS[1])
    assert a is not None
    assert b is not None
    assert likeness(a, a) == 1
    assert likeness(a, b) == likeness(b, a) < 1
    assert traits(dataclasses.replace(WORKS[0], macs=math.nan)) is None
    scaled = dataclasses.replace(WORKS[0], macs=WORKS[0].macs * math.exp(LENGTH))
    at = traits(dataclasses.replace(scaled, pointwise=0.0))
    assert likeness(at, a) == pytest.approx(math.exp(-0.5))  # type: ignore[arg-type]


def test_parts_of_a_network_are_corrected_alike(graph: PartitionGraph) -> None:
    pieces = piece_work(graph, count(graph).pieces)
    whole = edge_work(pieces)[-1]
    fit = fit_for(device("jetson-nano:tensorrt:fp16")).adapted(whole)
    assert float(estimate(graph, "jetson-nano:tensorrt:fp16")) == pytest.approx(fit.seconds(whole))
    assert sum(fit.seconds(piece) for piece in pieces) == pytest.approx(fit.seconds(whole))
