"""Reconstructions at other sizes than 32 pixels, and SSIM by the paper's own window against a literal reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.errors import AdvisorError
from advisor.estimators.inversion import alignment
from advisor.estimators.study.study_samples import pixels_of
from advisor.measures.images import at_size, picture_side, pictures, side_of, ssim


def photographs(count: int, side: int) -> Tensor:
    draw = torch.Generator().manual_seed(4)
    coarse = torch.rand(count, 3, 8, 8, generator=draw)
    return torch.nn.functional.interpolate(coarse, size=side, mode="bilinear")


def test_the_size_is_that_of_the_block() -> None:
    x = photographs(2, 48)
    assert pictures(x).shape[-1] == picture_side() == 32
    with at_size(40):
        assert pictures(x).shape[-1] == 40
        with at_size("native"):
            assert torch.equal(pictures(x), x)
        with at_size(None):
            assert pictures(x).shape[-1] == 40
    assert pictures(x).shape[-1] == 32


def test_the_size_is_said_wherever_images_are_large() -> None:
    x = photographs(2, 48)
    assert pixels_of((x,))[2] == "images reconstructed at (32, 32) pixels (at most 32 a side)"
    with at_size("native"):
        assert pixels_of((x,))[2] == "images reconstructed at (48, 48) pixels, their own size"
    assert pixels_of((photographs(2, 32),))[2] == "inputs as given"


@pytest.mark.parametrize("wrong", ["huge", "", "4", "-32", "0x40", "99999999"])
def test_what_is_no_size_is_refused(wrong: str) -> None:
    with pytest.raises(AdvisorError, match=r"makes no sense\. Use native, or pixels from 8\.$"):
        side_of(wrong)


def test_an_attack_reconstructs_at_the_size_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(alignment.BUDGETS, "quick", dataclasses.replace(alignment.QUICK, steps=20, checks=2))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 144, 4)).eval()
    x = photographs(60, 48)
    graph = advisor.trace(model, x[:2])
    for size, side in ((None, 32), (40, 40), ("native", 48)):
        found = advisor.attack(graph, 1, x[:12], x[12:], attack_size=size)
        assert found.reconstructions.shape == found.originals.shape == (12, 3, side, side)
        assert found.nmse < 0.9
        assert any(f"({side}, {side}) pixels" in note for note in found.notes)
        assert found.evidence["ssim_gaussian"] == pytest.approx(
            float(ssim(found.reconstructions, found.originals, gaussian=True).mean()), abs=1e-3
        )
    white = advisor.attack(graph, 1, x[:4], name="wiener", aux=x[12:], attack_size="native")
    assert white.reconstructions.shape == (4, 3, 48, 48)


def test_ssim_with_the_papers_window() -> None:
    """Wang et al. 2004, equation 13, window by window, borders reflected."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 12, 12, generator=draw)
    y = (x + 0.2 * torch.rand(x.shape, generator=draw)).clamp(0, 1)
    x[0, 0, 0, 0], x[0, 0, 11, 11] = 0.0, 1.0  # the range of the originals' values is then 1
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    wide = [np.pad(t[0, 0].double().numpy(), 5, mode="reflect") for t in (y, x)]
    found = []
    for row, column in np.ndindex(12, 12):
        a, b = (t[row : row + 11, column : column + 11] for t in wide)
        ma, mb = (window * a).sum(), (window * b).sum()
        va, vb, cov = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2, (window * a * b).sum() - ma * mb
        found.append((2 * ma * mb + 0.01**2) * (2 * cov + 0.03**2) / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2)))
    assert float(ssim(y, x, gaussian=True)) == pytest.approx(np.mean(found), abs=1e-4)
