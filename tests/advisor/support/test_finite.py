from __future__ import annotations

import math

import pytest
import torch

from advisor.support.finite import all_finite

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_found_wherever_it_lies(dtype: torch.dtype, bad: float) -> None:
    for place in (0, 517, 999):
        values = torch.linspace(-3, 3, 1000).to(dtype)
        assert all_finite(values.reshape(10, 100))
        values[place] = bad
        assert not all_finite(values.reshape(10, 100))
        assert not bool(torch.isfinite(values).all())


def test_numbers_at_the_end_of_their_range_nothing_and_integers_are_finite() -> None:
    most = torch.finfo(torch.float32).max
    assert all_finite(torch.tensor([most, -most, most]))
    assert all_finite(torch.zeros(0))
    assert all_finite(torch.ones(3, dtype=torch.bool))
    assert all_finite(torch.full((2,), 2**62))
    assert all_finite(torch.ones(3, dtype=torch.complex64).conj())
