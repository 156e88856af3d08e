"""What every estimator must do, whatever it measures."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from advisor.cut_view import CutView, Estimator, Targets
from advisor.derivatives.jacobian_grams import JacobianGram
from advisor.derivatives.tangents import TangentEnergy
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.testing.made_up_views import normal, view_of


def leaky(n: int = 160, shape: tuple[int, ...] = (3, 4, 4), seed: int = 0) -> CutView:
    """Small pictures of three classes, and a noisy z that follows them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    x = (0.3 * torch.rand(n, 1, 8, 8, generator=generator) + 0.2 * labels[:, None, None, None]).clamp(0, 1)
    mixing = normal(64, math.prod(shape), seed=1).float()
    z = (x.flatten(1) @ mixing + 0.2 * torch.randn(n, math.prod(shape), generator=generator)).reshape(n, *shape)
    return with_energy(view_of(z, labels, x, images=True))


def with_energy(view: CutView) -> CutView:
    """The same with made-up tangents, for estimators that need them."""
    n = len(view.z)
    energy = TangentEnergy(1 + normal(4, n).abs(), view.z.double().square().sum(1), view.targets.elements, "")
    sides = normal(9, 3, 5, seed=2)
    grams = JacobianGram(sides @ sides.transpose(1, 2), 20 + normal(9).abs(), torch.ones(3).double(), 64, 0.1)
    return dataclasses.replace(view, energy=energy, jacobian_gram=grams)


def measured(estimator: Estimator, view: CutView) -> dict[str, Estimate]:
    """As the sweep takes it: a refusal is a reason for every column."""
    try:
        found = copy.copy(estimator).at(view)
    except NotMeasurableError as error:
        return {spec.name: Estimate(math.nan, method=str(error)) for spec in estimator.columns}
    return found


def permuted(view: CutView, order: Tensor) -> CutView:
    """The same samples in another order, each in its role."""
    t, place = view.targets, torch.argsort(order)
    targets = Targets(
        t.pixels[order], t.images, t.labels[order], t.labels_are_true, place[t.train], place[t.test], t.classes
    )
    energy = view.energy
    assert energy is not None
    turned = dataclasses.replace(energy, energy=energy.energy[:, order], signal=energy.signal[order])
    tensors = tuple(z[order] for z in view.tensors)
    return dataclasses.replace(view, tensors=tensors, targets=targets, energy=turned)


class EstimatorContract:
    """Inherit it and give the estimator as the fixture `estimator`."""

    @pytest.fixture
    def estimator(self) -> Estimator:
        """The estimator under test."""
        raise NotImplementedError("give the estimator as a fixture")

    def test_what_is_declared_is_measured_and_nothing_else(self, estimator: Estimator) -> None:
        """Every column, in order, each within its interval."""
        found = measured(estimator, leaky())
        assert list(found) == [spec.name for spec in estimator.columns]
        for name, estimate in found.items():
            assert math.isfinite(estimate.value), (name, estimate.method)
            assert estimate.low <= estimate.value <= estimate.high, name
            assert estimate.stderr >= 0, name

    def test_columns_describe_themselves(self, estimator: Estimator) -> None:
        """Name, unit, good direction, source, method."""
        for spec in estimator.columns:
            assert spec.name.isidentifier()
            assert spec.unit
            assert spec.better in ("low", "high")
            assert spec.source in ("measured", "estimated", "bounded")
            assert len(spec.method) > 10

    def test_reads_no_more_than_it_says_it_needs(self, estimator: Estimator) -> None:
        """Without the derivatives that it did not ask for it measures the same."""
        view = leaky()
        energy = view.energy if "tangents" in estimator.needs else None
        grams = view.jacobian_gram if "jacobian gram" in estimator.needs else None
        bare = measured(estimator, dataclasses.replace(view, energy=energy, jacobian_gram=grams))
        assert {k: e.value for k, e in bare.items()} == {k: e.value for k, e in measured(estimator, view).items()}

    def test_same_seed_same_answer_and_the_callers_random_state_is_left(self, estimator: Estimator) -> None:
        """Whatever was drawn before."""
        view = leaky()
        torch.manual_seed(3)
        state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())
        first = measured(estimator, view)
        assert torch.equal(torch.get_rng_state(), state)
        assert repr(np.random.get_state()) == numpy_state
        torch.rand(7)
        again = measured(estimator, leaky())
        assert {k: e.value for k, e in first.items()} == {k: e.value for k, e in again.items()}

    def test_order_of_the_samples_does_not_matter(self, estimator: Estimator) -> None:
        """Up to rounding, and for what draws or trains, up to its own spread."""
        view = leaky()
        other = permuted(view, torch.randperm(160, generator=torch.Generator().manual_seed(4)))
        for name, estimate in measured(estimator, other).items():
            expected = measured(estimator, view)[name]
            assert estimate.value == pytest.approx(
                expected.value, rel=0.02, abs=0.02 + 2 * np.nan_to_num(expected.stderr)
            ), name

    @pytest.mark.parametrize(
        "spoilt",
        [
            lambda z: torch.full_like(z, math.nan),
            lambda z: torch.where(torch.arange(len(z))[:, None, None, None] == 3, math.inf, z),
            lambda z: torch.zeros_like(z),
            lambda z: torch.full_like(z, 1e6),
            lambda z: torch.where(torch.arange(z.shape[1])[:, None, None] == 1, z, 0.0),
        ],
        ids=["nan", "inf", "zero", "constant", "dead"],
    )
    def test_spoilt_tensors_give_a_number_or_a_reason(
        self, estimator: Estimator, spoilt: Callable[[Tensor], Tensor]
    ) -> None:
        """NaN, infinities, zeros, a constant, dead channels."""
        view = leaky()
        bad = dataclasses.replace(view, tensors=(spoilt(view.tensors[0]),))
        for name, estimate in measured(estimator, bad).items():
            assert not math.isinf(estimate.value), name
            assert not math.isnan(estimate.value) or estimate.method, name

    @pytest.mark.parametrize("n", [2, 3, 5, 9])
    def test_few_samples_give_a_number_or_a_reason(self, estimator: Estimator, n: int) -> None:
        """Two samples and more."""
        for name, estimate in measured(estimator, leaky(n)).items():
            assert not math.isinf(estimate.value), name
            assert not math.isnan(estimate.value) or estimate.method, name

    @pytest.mark.parametrize(
        ("labels", "classes"),
        [
            (torch.arange(40), 40),
            (torch.cat([torch.arange(3), torch.full((37,), 3)]), 4),
            (torch.arange(40) * 25, 1000),
            (torch.zeros(40, dtype=torch.long), 1),
        ],
        ids=["every class once", "three classes once", "fewer samples than classes", "one class"],
    )
    def test_thin_classes_give_a_number_or_a_reason(self, estimator: Estimator, labels: Tensor, classes: int) -> None:
        """Classes of one sample, or of none."""
        view = leaky(40)
        view = dataclasses.replace(view, targets=dataclasses.replace(view.targets, labels=labels, classes=classes))
        for name, estimate in measured(estimator, view).items():
            assert not math.isinf(estimate.value), name
            assert not math.isnan(estimate.value) or estimate.method, name

    def test_inputs_that_are_no_images_are_measured_but_for_their_likeness(self, estimator: Estimator) -> None:
        """A likeness is one of images; the reason says so."""
        view = leaky()
        flat = dataclasses.replace(view.targets, pixels=view.targets.pixels.flatten(1), images=False)
        found = measured(estimator, dataclasses.replace(view, targets=flat))
        missing = {name: e.method for name, e in found.items() if math.isnan(e.value)}
        assert all("not images" in why for why in missing.values())

    @pytest.mark.parametrize("value", [0.0, 0.3])
    def test_inputs_that_do_not_vary_give_a_number_or_a_reason(self, estimator: Estimator, value: float) -> None:
        """All the same: there is nothing to find."""
        view = leaky(40)
        same = dataclasses.replace(view.targets, pixels=torch.full_like(view.targets.pixels, value))
        for name, estimate in measured(estimator, dataclasses.replace(view, targets=same)).items():
            assert not math.isinf(estimate.value), name
            assert not math.isnan(estimate.value) or estimate.method, name

    @pytest.mark.parametrize("shape", [(5,), (1, 1, 1), (2, 2, 2, 2), (17, 3)])
    def test_any_shape_may_cross(self, estimator: Estimator, shape: tuple[int, ...]) -> None:
        """Vectors, single numbers, maps and volumes."""
        for name, estimate in measured(estimator, leaky(80, shape)).items():
            assert not math.isnan(estimate.value) or estimate.method, name

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_any_precision_may_cross(self, estimator: Estimator, dtype: torch.dtype) -> None:
        """Half precision is measured as it is sent."""
        view = leaky()
        narrow = dataclasses.replace(view, tensors=(view.tensors[0].to(dtype),))
        expected = measured(estimator, view)
        for name, estimate in measured(estimator, narrow).items():
            assert estimate.value == pytest.approx(expected[name].value, rel=0.05, abs=0.05), name

    def test_what_crosses_is_not_written_to(self, estimator: Estimator) -> None:
        """The activation and the targets are the sweep's."""
        view = leaky()
        z, pixels = view.tensors[0].clone(), view.targets.pixels.clone()
        measured(estimator, view)
        assert torch.equal(view.tensors[0], z)
        assert torch.equal(view.targets.pixels, pixels)
