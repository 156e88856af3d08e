"""Principal components against numpy's, and blocks of maps against a slow literal reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from advisor.measures.principal_components import blocks_of, principal


def test_directions_and_spreads_are_those_of_the_covariance() -> None:
    scales = torch.tensor([5.0, 3.0, 2.0, 0.5, 0.1, 0.05])
    rotation = torch.linalg.qr(torch.randn(6, 6)).Q
    rows = torch.randn(3000, 6) * scales @ rotation + 7
    directions, spread = principal(rows, 3)
    values, vectors = np.linalg.eigh(np.cov(rows.numpy().T))
    assert spread.numpy() == pytest.approx(np.sqrt(values[::-1][:3]), rel=1e-3)
    overlap = np.abs(directions.numpy() @ vectors[:, ::-1][:, :3])
    assert overlap == pytest.approx(np.eye(3), abs=1e-2)


def test_there_are_no_more_components_than_dimensions_that_vary() -> None:
    plane = torch.randn(50, 2) @ torch.randn(2, 9)
    assert len(principal(plane, 5)[0]) == 2
    assert len(principal(torch.randn(4, 9), 8)[0]) <= 4
    assert len(principal(torch.zeros(10, 3), 2)[0]) == 0


@pytest.mark.parametrize(("height", "width", "stride"), [(4, 6, 2), (5, 7, 2), (8, 9, 4), (7, 7, 3), (2, 2, 4)])
def test_blocks_are_what_the_middle_of_a_kernel_reads(height: int, width: int, stride: int) -> None:
    maps = torch.randn(2, 3, height, width)
    before = (stride - 1) // 2
    expected = []
    for sample in maps:
        for top in range(-(-height // stride)):
            for left in range(-(-width // stride)):
                block = torch.zeros(3, stride, stride)
                for i in range(stride):
                    for j in range(stride):
                        y, x = top * stride - before + i, left * stride - before + j
                        if 0 <= y < height and 0 <= x < width:
                            block[:, i, j] = sample[:, y, x]
                expected.append(block.flatten())
    assert torch.equal(blocks_of(maps, stride), torch.stack(expected))
