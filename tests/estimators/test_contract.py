"""What every estimator promises, whichever it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from views import normal, view_of

from advisor.columns import Column
from advisor.estimators import estimators
from advisor.estimators.noise import NoiseCurves
from advisor.sweep import CutView, Estimator, Sheet, Targets
from advisor.tangents import TangentEnergy

ROWS, ELEMENTS = 48, 12
MEMBERS = [type(e) for e in [*estimators(), NoiseCurves()]]
every_estimator = pytest.mark.parametrize("make", MEMBERS, ids=[m.__name__ for m in MEMBERS])


def view_for(z: Tensor, pixels: Tensor | None = None) -> CutView:
    """Four classes; tangents as a linear map would give them."""
    pixels = normal(ROWS, ELEMENTS, seed=5).float() if pixels is None else pixels
    view = view_of(z, torch.arange(len(z)) % 4, pixels)
    signal = z.double().flatten(1).square().sum(1)
    energy = TangentEnergy(normal(3, len(z), seed=6).square() + 1, signal, ELEMENTS)
    return CutView(view.cut, view.tensors, view.targets, view.wire_step, view.seed, energy)


def usual() -> CutView:
    x = normal(ROWS, ELEMENTS, seed=5).float()
    return view_for(x @ normal(ELEMENTS, 9, seed=8).float() + (torch.arange(ROWS) % 4)[:, None], x)


def columns(estimator: Estimator, view: CutView) -> dict[str, Column]:
    """Through the sheet, as in a sweep; a column refuses NaN without a reason."""
    sheet = Sheet([view.cut], estimator.columns)
    sheet.add(estimator, view)
    return sheet.columns()


def permuted(view: CutView, order: Tensor) -> CutView:
    """The same samples in the same roles, stored in another order."""
    place = order.argsort()
    old, energy = view.targets, view.energy
    assert energy is not None
    targets = Targets(
        old.pixels[order], old.images, old.labels[order], old.labels_are_true, place[old.train], place[old.test],
        old.classes,
    )  # fmt: skip
    moved = TangentEnergy(energy.energy[:, order], energy.signal[order], energy.elements)
    return CutView(view.cut, (view.tensors[0][order],), targets, view.wire_step, view.seed, moved)


def numbers(found: dict[str, Column]) -> np.ndarray:
    return np.array([part[0] for c in found.values() for part in (c.values, c.stderr, c.low, c.high)])


@every_estimator
def test_declared_columns_come_back_measured(make: Callable[[], Estimator]) -> None:
    estimator = make()
    found, sheet = estimator.at(usual()), columns(make(), usual())
    assert set(found) == set(sheet) == {spec.name for spec in estimator.columns}
    for spec in estimator.columns:
        column = sheet[spec.name]
        assert (column.unit, column.better, column.source) == (spec.unit, spec.better, spec.source)
        assert column.method
        assert math.isfinite(column.values[0])
        assert column.low[0] <= column.values[0] <= column.high[0]


def test_no_two_estimators_share_a_column() -> None:
    names = [spec.name for make in MEMBERS for spec in make().columns]
    assert len(names) == len(set(names))


@every_estimator
def test_same_view_same_numbers_and_the_callers_random_state_is_left(make: Callable[[], Estimator]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = numbers(columns(make(), usual()))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert np.array_equal(numbers(columns(make(), usual())), first, equal_nan=True)


@every_estimator
def test_the_order_of_the_samples_does_not_matter(make: Callable[[], Estimator]) -> None:
    view = usual()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(3))
    found = numbers(columns(make(), permuted(view, order)))
    assert found == pytest.approx(numbers(columns(make(), view)), rel=1e-4, abs=1e-6, nan_ok=True)


@every_estimator
@pytest.mark.parametrize("level", [0.0, 3.7])
def test_constant_features_give_a_number_or_a_reason(make: Callable[[], Estimator], level: float) -> None:
    for column in columns(make(), view_for(torch.full((ROWS, 9), level))).values():
        assert math.isfinite(column.values[0]) or column.why[0]


@pytest.mark.parametrize("name", ["linear_nmse", "kernel_nmse"])
def test_constant_features_are_no_better_than_the_mean(name: str) -> None:
    make = next(m for m in MEMBERS if name in [s.name for s in m().columns])
    assert columns(make(), view_for(torch.full((ROWS, 9), 3.7)))[name].values[0] == pytest.approx(1, abs=1e-6)


@every_estimator
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_not_measured_and_says_why(make: Callable[[], Estimator], bad: float) -> None:
    z = normal(ROWS, 9).float()
    z[5, 2] = bad
    for column in columns(make(), view_for(z)).values():
        assert math.isnan(column.values[0])
        assert "NaN or infinities" in column.why[0]


@every_estimator
def test_a_few_samples_give_a_number_or_a_reason(make: Callable[[], Estimator]) -> None:
    for rows in (1, 2, 4):
        view = view_for(normal(rows, 9).float(), normal(rows, ELEMENTS, seed=5).float())
        for column in columns(make(), view).values():
            assert math.isfinite(column.values[0]) or column.why[0]
