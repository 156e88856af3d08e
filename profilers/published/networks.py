"""Work of the published networks.

`python -m advisor.profilers.published.networks` rewrites `facts/features.toml` (a few minutes).
"""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.profilers.facts import FOLDER, shipped
from advisor.profilers.published.features import Work, edge_work, piece_work
from advisor.profilers.published.published_points import SAME_NETWORK

if TYPE_CHECKING:
    from torch import nn

_TRANSFORMERS = {"vit_tiny_patch16_224": (192, 3), "vit_small_patch16_224": (384, 6)}  # timm: width, heads


def build(name: str) -> nn.Module | None:
    """A published network with random weights, or None where torchvision has nothing that computes the same."""
    from torchvision import models

    if name in _TRANSFORMERS:
        width, heads = _TRANSFORMERS[name]
        network: nn.Module = models.VisionTransformer(224, 16, 12, heads, width, 4 * width)
    elif name == "resnext101_32x4d":
        network = models.ResNet(models.resnet.Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4)
    elif name not in models.list_models(module=models):
        return None
    else:
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network = models.get_model(name, weights=None, **options)
    return network.eval()


def work(name: str, shape: str) -> Work | None:
    """Work of one forward pass for one sample; `shape` as published, such as `3x224x224`."""
    import torch

    from advisor.profilers.multiply_adds.counting import count
    from advisor.tracing.tracer import trace

    network = build(name)
    if network is None:
        return None
    graph = trace(network, torch.zeros(2, *(int(side) for side in shape.split("x"))))
    return edge_work(piece_work(graph, count(graph).pieces))[-1]


def write(folder: Path = FOLDER) -> None:
    """Rewrite `features.toml`."""
    import torch

    from advisor.files import write_atomically

    published = {
        (SAME_NETWORK.get(name, name), shape.rstrip("?"))
        for series in shipped("latencies.toml")["series"]
        for name, shape, *_ in series["points"]
        if shape.count("x") == 2
    }
    lines = [
        "# Work of one forward pass of the published networks for one sample, from torchvision's networks.",
        "# Written by `python -m advisor.profilers.published.networks`.",
        "# Each row: name, input, then the attributes of `features.Work` in order.",
        "networks = [",
    ]
    for name, shape in sorted(published):
        with torch.random.fork_rng():
            found = work(name, shape)
        if found is not None:
            numbers = ", ".join(f"{value:.1f}" for value in astuple(found))
            lines.append(f'  ["{name}", "{shape}", {numbers}],')
    write_atomically(folder / "features.toml", "\n".join([*lines, "]"]) + "\n")


if __name__ == "__main__":
    write()
