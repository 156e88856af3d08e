"""What spans many decades is read on a logarithmic scale too; what does not is read as before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from advisor.measures.decoders.activation_layouts import Layout
from advisor.measures.decoders.heavy_tails import log_view
from advisor.measures.decoders.usual_decoders import decoders_for
from advisor.measures.decoders.vector_decoder import VectorDecoder

COUNT = 400


@pytest.fixture(scope="module")
def hidden() -> Tensor:
    """Inputs `[n, 5]`."""
    return torch.randn(COUNT, 5, generator=torch.Generator().manual_seed(0))


def probabilities(hidden: Tensor) -> Tensor:
    """Of eight classes, by scores that are linear in the inputs."""
    return (hidden @ torch.randn(5, 8, generator=torch.Generator().manual_seed(1)) * 4).softmax(1)


def left_by(features: Tensor, hidden: Tensor) -> list[float]:
    """NMSE of the linear part of each decoder on samples that it has not learnt from."""
    learnt, unseen = torch.arange(300), torch.arange(300, COUNT)
    found = []
    for make in decoders_for(features, Layout("vector"), hidden, learnt, 8, 1):
        decoder = make()
        assert isinstance(decoder, VectorDecoder)
        decoder.solve(learnt[:250], learnt[250:])
        decoder.solve_again(learnt)
        error = (decoder.picture(unseen) - hidden[unseen]).square().mean()
        found.append(float(error / (hidden[unseen] - hidden[learnt].mean(0)).square().mean()))
    return found


def test_probabilities_are_read_like_the_scores_that_they_were_made_of(hidden: Tensor) -> None:
    as_they_are, curved, logarithmic, both = left_by(probabilities(hidden), hidden)
    assert min(as_they_are, curved) > 0.1
    by_hand = left_by(probabilities(hidden).log(), hidden)[0]
    assert by_hand < 0.01
    assert min(logarithmic, both) < 0.05


@pytest.mark.parametrize("sign", [1, -1])
def test_the_view_is_the_features_and_their_logarithms_beside_them(sign: int) -> None:
    z = sign * torch.logspace(-6, 0, 200)[:, None].repeat(1, 3)
    view = log_view(z)
    assert view is not None
    seen = view(z)
    assert torch.equal(seen[:, :3], z)
    steps = seen[20:, 3:].diff(dim=0).abs()
    assert torch.allclose(steps, steps[-1].expand_as(steps), rtol=0.1)  # a logarithm takes equal steps


def test_ordinary_activations_are_read_as_they_are(hidden: Tensor) -> None:
    draw = torch.Generator().manual_seed(2)
    normal = torch.randn(COUNT, 50, generator=draw)
    laplace = torch.rand(COUNT, 50, generator=draw).log() * (normal.sign())
    for features in (normal, laplace, normal.relu(), 1e6 + normal, torch.zeros(COUNT, 5), normal.sigmoid()):
        assert log_view(features) is None
    assert len(left_by(normal, hidden)) == 2
