"""Tensors as rows of numbers: what attacks compute with loses nothing in silence."""

from __future__ import annotations

import pytest
import torch

from advisor.errors import NotMeasurableError
from advisor.measures.flat_rows import reals


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("offset", [1e9, -3e12])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_digits_that_float32_would_lose_are_no_privacy(dtype: torch.dtype, offset: float) -> None:
    fine = normal(20, 4).to(dtype)
    fine[:, 2] += offset
    with pytest.raises(NotMeasurableError, match="less than float32 resolves"):
        reals([normal(20, 3).float(), fine])


@pytest.mark.parametrize(
    "tensor",
    [
        normal(20, 4), 1e9 * normal(20, 4), 1000 + normal(20, 4), torch.full((20, 4), 1e9 + 1, dtype=torch.float64),
        (1e9 + normal(20, 4)).float(), torch.arange(20), normal(1, 4) + 1e9,
    ],
)  # fmt: skip
def test_what_float32_keeps_is_taken(tensor: torch.Tensor) -> None:
    (found,) = reals([tensor])
    assert found.dtype == torch.float32
    assert torch.equal(found, tensor.float())
