"""Between which values inputs lie."""

from __future__ import annotations

import pytest
import torch

from advisor.value_range import UNIT, ValueRange


def test_inputs_inside_zero_and_one_have_that_range_and_others_their_own() -> None:
    assert ValueRange.of(torch.tensor([0.2, 0.7])) == ValueRange.of(torch.zeros(3)) == UNIT
    assert ValueRange.of(torch.empty(0, 3)) == UNIT
    assert ValueRange.of(torch.tensor([-2.0, 0.5])) == ValueRange(-2.0, 0.5)
    assert ValueRange.of(torch.tensor([0.0, 255.0])) == ValueRange(0.0, 255.0)


def test_what_leaves_the_range_is_clipped_and_units_go_there_and_back() -> None:
    values, x = ValueRange(-2.0, 3.0), torch.tensor([-5.0, -2.0, 0.5, 3.0, 7.0])
    assert values.clip(x).tolist() == [-2.0, -2.0, 0.5, 3.0, 3.0]
    assert values.to_unit(x)[1:4].tolist() == [0.0, 0.5, 1.0]
    assert values.from_unit(values.to_unit(x)).tolist() == pytest.approx(x.tolist())
    assert torch.equal(UNIT.from_unit(UNIT.to_unit(x)), x)


def test_a_range_of_one_value_divides_nothing_by_zero() -> None:
    assert ValueRange.of(torch.full((4,), 3.0)).to_unit(torch.tensor([3.0, 4.0])).tolist() == [0.0, 1.0]
