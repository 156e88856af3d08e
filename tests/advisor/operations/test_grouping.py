"""Groups of a frozen batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advisor.errors import DataError
from advisor.operations.grouping import Grouped, group, joined, over_groups, padded


@pytest.mark.parametrize(("rows", "groups"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_grouping_is_undone(rows: int, groups: int) -> None:
    x = torch.arange(rows * 2.0).view(rows, 2)
    grouped = group(x, 3)
    assert grouped.shape == (groups, 3, 2)
    assert torch.equal(joined(grouped, rows, 3, groups=True), x)
    assert torch.equal(grouped.flatten(0, 1)[rows:], x[-1:].expand(groups * 3 - rows, 2)), "the last sample fills up"


def test_a_full_batch_is_not_copied() -> None:
    x = torch.rand(3, 2)
    assert padded(x, 3) is x


def test_memory_format_does_not_matter() -> None:
    x = torch.rand(4, 3, 5, 5).to(memory_format=torch.channels_last)
    assert torch.equal(group(x, 2).flatten(0, 1), x)


class FixedRows(nn.Module):
    """Works for two rows only, and returns a number beside the tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x.view(2, 4) * 2, 7


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_fixed_body_takes_any_batch(rows: int) -> None:
    x = torch.rand(rows, 4)
    found, number = Grouped(FixedRows(), 2)(x)
    assert torch.equal(found, x * 2)
    assert number == 7


def test_what_has_no_rule_runs_group_by_group() -> None:
    lstm = nn.LSTM(4, 3, batch_first=True).eval()
    x = torch.rand(6, 5, 4)
    with torch.no_grad():
        found = over_groups(lambda t: lstm(t)[0], x.view(3, 2, 5, 4))
        assert torch.allclose(found.flatten(0, 1), lstm(x)[0], atol=1e-6)


def test_an_error_of_the_body_is_raised_as_it_is() -> None:
    def body(x: Tensor) -> Tensor:
        raise RuntimeError("of the body")

    with pytest.raises(RuntimeError, match="of the body"):
        over_groups(body, torch.rand(2, 3))


def test_outputs_without_batch_are_refused() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum()

    assert Grouped(Sum(), 2)(torch.ones(2, 3)) == 6
    for rows in (1, 5):
        with pytest.raises(DataError, match="Pass exactly 2 samples"):
            Grouped(Sum(), 2)(torch.ones(rows, 3))
