"""LPIPS (Zhang et al. 2018) by torchmetrics, where weights of its network are on this machine; nothing is fetched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from advisor.estimate import Estimate
from advisor.support.preserve import left_as_found

Net = Literal["alex", "vgg", "squeeze"]
WEIGHTS: dict[Net, str] = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights", "squeeze": "SqueezeNet1_1_Weights"}
SIDE = 64
"""Pixels: smaller pictures are enlarged to this, since the network pools five times."""


def network_at_hand() -> Net | None:
    """The first network whose ImageNet weights lie in torch's cache; the papers use AlexNet."""
    import torchvision.models as zoo

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return next((net for net, name in WEIGHTS.items() if (folder / _file(getattr(zoo, name))).exists()), None)


def _file(weights: Any) -> str:
    return str(weights.DEFAULT.url).rpartition("/")[2]


def lpips(reconstruction: Tensor, original: Tensor) -> Estimate:
    """Mean perceptual distance of images `[n, c, h, w]` in [0, 1]; NaN with its reason where it cannot be measured."""
    net = network_at_hand()
    if net is None:
        reason = "LPIPS needs AlexNet's, VGG-16's or SqueezeNet's ImageNet weights in torch's cache"
        return Estimate(math.nan, method=f"{reason}; none is there")
    if original.shape[1] not in (1, 3):
        return Estimate(math.nan, method="LPIPS is defined for grey or RGB images")
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    pairs = zip(_rgb(reconstruction), _rgb(original), strict=True)
    with left_as_found(), torch.no_grad():
        metric = LearnedPerceptualImagePatchSimilarity(net_type=net, normalize=True)
        found = [float(metric(a[None], b[None])) for a, b in pairs]
    return Estimate.of_mean(found, "1", f"LPIPS, {net}, at {SIDE} pixels a side or more").within(0.0)


def _rgb(x: Tensor) -> Tensor:
    wide = x.float().clamp(0, 1).expand(-1, 3, -1, -1)
    shortest = min(x.shape[-2:])
    if shortest >= SIDE:
        return wide
    size = [round(side * SIDE / shortest) for side in x.shape[-2:]]
    return torch.nn.functional.interpolate(wide, size=size, mode="bilinear", align_corners=False).clamp(0, 1)
