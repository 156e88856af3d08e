"""At which size reconstructions are held against the inputs is said with every number of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import advisor
from advisor.estimators.study.study_samples import OF_PICTURES
from advisor.measures.images import PICTURE_SIDE

pytestmark = pytest.mark.usefixtures("short_attacks")

SAID = r"images reconstructed at (32, 32) pixels (at most 32 a side): finer detail is not judged"


@pytest.mark.parametrize(("side", "reduced"), [(48, True), (PICTURE_SIDE, False)])
def test_numbers_of_larger_images_say_at_which_size_they_were_taken(side: int, reduced: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    x = torch.rand(24, 1, side, side)
    net(x[:1])
    wanted = ["score", "score_ssim", "linear_nmse", "dcor"]
    whole = advisor.leakage(advisor.trace(net, x[:2]), x, only=wanted)
    one = advisor.leakage(advisor.trace(net, x[:2]), x, only=wanted, cut=1)
    for profile in (whole, one):
        for name in wanted:
            assert (SAID in profile[name].method) == (reduced and name in OF_PICTURES), name


def test_an_attack_says_it_too() -> None:
    x = torch.rand(24, 1, 48, 48)
    graph = advisor.trace(nn.Sequential(nn.AvgPool2d(4), nn.ReLU()).eval(), x[:2])
    notes = advisor.attack(graph, 1, x).notes
    assert any(note.startswith("images reconstructed at (32, 32) pixels") for note in notes)
