"""torchvision: every classification, detection, segmentation, video, optical-flow and quantised model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torchvision import models
from zoo_entries import Entry, arrays, skipped

AT_FULL_SIZE = dict.fromkeys(("resnet50", "densenet121", "vit_b_16", "swin_t"), 5.0)
"""Models whose seconds are limited, at the 224 pixels they were made for; most others are walked at 64."""
PIXELS = {"inception_v3": 96, "maxvit_t": 224, "densenet201": 224}
BACKBONES = {
    "fasterrcnn_mobilenet_v3_large_fpn": 64, "fasterrcnn_resnet50_fpn": 64, "fasterrcnn_resnet50_fpn_v2": 64,
    "fcos_resnet50_fpn": 64, "retinanet_resnet50_fpn_v2": 64, "ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {name: {"init_weights": False} for name in ("googlenet", "inception_v3")}


def classification() -> list[Entry]:
    """All of them."""
    return [_classifier(name) for name in models.list_models(module=models)]


def _classifier(name: str) -> Entry:
    pixels = PIXELS.get(name, 224 if name in AT_FULL_SIZE else 64)
    options = dict(OPTIONS.get(name, {}))
    if name.startswith("vit_"):
        pixels = options["image_size"] = {"vit_b_16": 224, "vit_h_14": 56}.get(name, 64)
    made = _maker(name, **options)
    return Entry(name, made, arrays(3, pixels, pixels), seconds=AT_FULL_SIZE.get(name, float("inf")))


def _maker(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: models.get_model(name, weights=None, **options)


def segmentation() -> list[Entry]:
    """All of them; they return dicts."""
    names = models.list_models(module=models.segmentation)
    return [Entry(name, _maker(name, weights_backbone=None), arrays(3, 64, 64)) for name in names]


def detection() -> list[Entry]:
    """All, which are refused (how many boxes there are follows from the image), and what can be split of them."""

    def detector(name: str) -> Callable[[], nn.Module]:
        return _maker(name, weights_backbone=None)

    names = models.list_models(module=models.detection)
    whole = [Entry(name, detector(name), arrays(3, 64, 64), refused="depends on the values") for name in names]
    return whole + [
        Entry(f"{name}.backbone", lambda name=name: detector(name)().backbone, arrays(3, size, size))
        for name, size in BACKBONES.items()
    ]


def video() -> list[Entry]:
    """All of them, at the least frames and pixels that they admit."""
    sizes = {"mvit_v1_b": (16, 224), "mvit_v2_s": (16, 224), "s3d": (16, 224)}
    entries = []
    for name in models.list_models(module=models.video):
        frames, pixels = sizes.get(name, (8, 64))
        entries.append(Entry(name, _maker(name), arrays(3, frames, pixels, pixels)))
    return entries


def flow() -> list[Entry]:
    """RAFT: two images in, a list of flows out."""

    def pair(n: int) -> Any:
        return arrays(3, 128, 128)(n), arrays(3, 128, 128, seed=1)(n)

    return [Entry(name, _maker(name), pair) for name in models.list_models(module=models.optical_flow)]


def quantized() -> list[Entry]:
    """Listed only."""
    why = "eager-mode quantisation: packed weights, which torch.export does not take; quantise after the split (pt2e)"
    return [skipped(name, why) for name in models.list_models(module=models.quantization)]
