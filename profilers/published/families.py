"""Families of networks: sisters, which a model of one's own has none of among those that were published."""

from __future__ import annotations

import re

FAMILIES = {
    "vgg|alexnet": "plain", "resnext|wide_resnet|resnet": "resnet", "mobilenet|mnasnet": "mobilenet",
    "efficientnet": "efficientnet", "squeezenet": "squeezenet", "densenet": "densenet", "shufflenet": "shufflenet",
    "googlenet|inception": "inception", "regnet": "regnet", "vit|swin|deit": "transformer", "convnext": "convnext",
}  # fmt: skip
"""Pattern of a network's name -> its family; any other network is a family of its own."""


def family(network: str) -> str:
    """The family of a network."""
    return next((kin for pattern, kin in FAMILIES.items() if re.match(pattern, network)), network)
