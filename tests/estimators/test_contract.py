"""Every estimator keeps the contract. One more estimator is tested here without a line of test."""

from __future__ import annotations

import dataclasses
import math

import pytest

from advisor.cut_view import Estimator
from advisor.estimators import ESTIMATORS
from advisor.estimators.inversion.alignment import QUICK, QuickAlignment
from advisor.estimators.noise import NoiseCurves
from advisor.testing.estimator_contract import EstimatorContract, leaky, measured

EVERY: list[Estimator] = [
    *ESTIMATORS.values(),
    NoiseCurves(),
    QuickAlignment(dataclasses.replace(QUICK, width=8, steps=24)),
]


class TestEveryEstimator(EstimatorContract):
    @pytest.fixture(params=EVERY, ids=lambda e: type(e).__name__)
    def estimator(self, request: pytest.FixtureRequest) -> Estimator:
        member: Estimator = request.param
        return member


def test_no_two_estimators_share_a_column() -> None:
    names = [spec.name for estimator in EVERY for spec in estimator.columns]
    assert len(names) == len(set(names))


def test_of_inputs_that_are_no_images_only_the_likeness_is_missing() -> None:
    view = leaky()
    flat = dataclasses.replace(view.targets, pixels=view.targets.pixels.flatten(1), images=False)
    found = [measured(estimator, dataclasses.replace(view, targets=flat)) for estimator in EVERY]
    assert {name for row in found for name, e in row.items() if math.isnan(e.value)} == {"ka_ssim"}
