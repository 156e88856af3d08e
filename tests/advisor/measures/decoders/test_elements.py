"""What sends each element of the input by itself hides nothing, however few the samples and however unlike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import advisor
from advisor.measures.decoders.elements import element_by_element


class Normalised(nn.Module):
    """A normalisation in front, as many models have it."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.45) / 0.22


NOISE = torch.rand(60, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
CODES = F.one_hot(torch.arange(60) % 12, 12).float()


@pytest.mark.parametrize("x", [NOISE, CODES], ids=["white noise", "one-hot"])
def test_the_input_and_its_normalisation_hide_nothing(x: Tensor) -> None:
    """With the networks alone the score of the input itself was 0.6 on noise, and 0.99 on one-hot codes."""
    torch.manual_seed(0)
    model = nn.Sequential(Normalised(), nn.Flatten(), nn.Linear(x[0].numel(), 4)).eval()
    graph = advisor.trace(model, x[:2])
    profile = advisor.leakage(graph, x, only=["ka_nmse", "score"])
    for cut in graph.cuts[:-1]:
        assert float(profile["ka_nmse"].values[cut.index]) < 1e-6, cut.name
        assert float(profile["score"].high[cut.index]) < 1e-6, cut.name
    assert float(profile["ka_nmse"].values[-1]) > 0.5


def test_elements_that_did_not_vary_are_read_as_the_others_are() -> None:
    x = torch.rand(20, 5, generator=torch.Generator().manual_seed(0))
    x[:10, 4] = 0.3
    found = element_by_element(2 * x + 1, x, torch.arange(10))
    assert found is not None
    torch.testing.assert_close(found, x)


def test_folded_maps_are_unfolded() -> None:
    x = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = element_by_element(F.pixel_unshuffle(x, 2), x, torch.arange(4))
    assert found is not None
    torch.testing.assert_close(found, x)


def test_what_is_mixed_noisy_or_constant_is_left_to_the_networks() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(20, 5, generator=generator)
    learnt = torch.arange(10)
    for sent in (
        x.flip(1),
        x + 0.01 * torch.randn(20, 5, generator=generator),
        torch.ones(20, 5),
        x[:, :4],
        x.relu().round(),
    ):
        assert element_by_element(sent, x, learnt) is None
