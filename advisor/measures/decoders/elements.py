"""Payloads that send each element of the input by itself: the input, a view or a normalisation of it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST = 3
EXACT = 1e-6
"""Share of the variance that a line may leave where it is no coincidence of few samples but rounding."""


def element_by_element(features: Tensor, pixels: Tensor, learnt: Tensor) -> Tensor | None:
    """All samples read off by one line an element; None where the samples that the attacker has lie on none.

    Networks and regressions do not learn even a copy from a few samples of unlike elements, such as noise or one-hot
    codes: their error would pass for privacy. An element that did not vary has the median slope of the others.

    Args:
        features: `[n, D]`, or `[n, c, h, w]` as arranged, 2×2 cells folded into channels or not.
        pixels: the targets `[n, ...]`; only those of `learnt` are looked at.
        learnt: positions of the attacker's own samples.
    """
    if features.dim() == 4 and pixels.dim() == 4 and features.shape[1] == 4 * pixels.shape[1]:
        features = F.pixel_shuffle(features, 2)
    if features.shape[1:].numel() != pixels.shape[1:].numel() or len(learnt) < FEWEST:
        return None
    sent, wanted = features.double().reshape(pixels.shape), pixels[learnt].double()
    centre, mean = sent[learnt].mean(0), wanted.mean(0)
    moved, wanted = sent[learnt] - centre, wanted - mean
    energy = moved.square().sum(0)
    varied = energy > 0
    if not bool(varied.any()):
        return None
    slope = (moved * wanted).sum(0) / torch.where(varied, energy, 1.0)
    slope = torch.where(varied, slope, slope[varied].median())
    if float((wanted - slope * moved).square().sum()) > EXACT * float(wanted.square().sum()):
        return None
    return (mean + slope * (sent - centre)).to(pixels.dtype)
