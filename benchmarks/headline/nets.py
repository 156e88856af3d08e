"""Small networks of different families, for 16×16 colour images, 8×8 grey ones and vectors."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Scale(nn.Module):
    """(x - 1/2) · 4: pixels in [0, 1] to about unit variance."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return (x - 0.5) * 4


def named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def conv_norm(inputs: int, outputs: int, stride: int = 1, groups: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return named(conv=convolution, norm=nn.BatchNorm2d(outputs), relu=nn.ReLU())


def vgg(classes: int = 10, side: int = 16) -> nn.Module:
    """Four stages of two convolutions with batch norm and pooling, then two linear layers."""
    stages, inputs = OrderedDict[str, nn.Module](scale=Scale()), 3
    for number, outputs in enumerate((32, 64, 128, 128), 1):
        first, second = conv_norm(inputs, outputs), conv_norm(outputs, outputs)
        stages[f"stage{number}"] = named(first=first, second=second, pool=nn.MaxPool2d(2))
        inputs = outputs
    stages["neck"] = named(flatten=nn.Flatten(), linear=nn.Linear(128 * (side // 16) ** 2, 128), relu=nn.ReLU())
    stages["head"] = nn.Linear(128, classes)
    return nn.Sequential(stages)


class Inverted(nn.Module):
    """Inverted residual (Sandler et al. 2018): widen, depthwise, narrow."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide, self.skip = 4 * inputs, stride == 1 and inputs == outputs
        self.widen, self.depthwise = conv_norm(inputs, wide, kernel=1), conv_norm(wide, wide, stride, groups=wide)
        self.narrow = nn.Sequential(nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h/stride, w/stride]`."""
        y: Tensor = self.narrow(self.depthwise(self.widen(x)))
        return x + y if self.skip else y


def mobilenet(classes: int = 10) -> nn.Module:
    """Six inverted residuals, linear bottlenecks."""
    rows = ((16, 24, 2), (24, 24, 1), (24, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1))
    head = named(conv=conv_norm(96, 256, kernel=1), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    blocks = nn.Sequential(*(Inverted(*row) for row in rows))
    return named(scale=Scale(), stem=conv_norm(3, 16), blocks=blocks, head=head, linear=nn.Linear(256, classes))


class Mixer(nn.Module):
    """ConvMixer block (Trockman and Kolter 2022): depthwise over places beside the identity, then over channels."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(width, width, kernel, groups=width, padding="same")
        self.channels = nn.Conv2d(width, width, 1)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        x = x + self.norm1(F.gelu(self.places(x)))
        return self.norm2(F.gelu(self.channels(x)))


def convmixer(classes: int = 10, width: int = 64, depth: int = 5, patch: int = 2) -> nn.Module:
    """Patches of 2×2 pixels, five blocks of one size, mean over places, one linear layer."""
    stem = nn.Sequential(nn.Conv2d(3, width, patch, patch), nn.GELU(), nn.BatchNorm2d(width))
    blocks = nn.Sequential(*(Mixer(width, 5) for _ in range(depth)))
    head = named(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return named(scale=Scale(), stem=stem, blocks=blocks, head=head, linear=nn.Linear(width, classes))


class Grouped(nn.Module):
    """Bottleneck of ResNeXt (Xie et al. 2017): narrow, eight groups, widen; beside the identity or a projection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.narrow = conv_norm(inputs, middle, kernel=1)
        self.grouped = conv_norm(middle, middle, stride, groups=8)
        self.widen = nn.Sequential(nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h/stride, w/stride]`."""
        return F.relu(self.widen(self.grouped(self.narrow(x))) + self.skip(x))


def resnext(classes: int = 10) -> nn.Module:
    """Six grouped bottlenecks in three stages."""
    rows = ((32, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1))
    blocks = nn.Sequential(*(Grouped(*row) for row in rows))
    head = named(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return named(scale=Scale(), stem=conv_norm(3, 32), blocks=blocks, head=head, linear=nn.Linear(256, classes))


def cnn(classes: int = 10, channels: int = 3, side: int = 16, widths: tuple[int, ...] = (32, 64, 128)) -> nn.Module:
    """Pairs of convolutions without norm, a sigmoid bottleneck: the family of He, Zhang and Lee (ACSAC 2019)."""
    stages, inputs = OrderedDict[str, nn.Module](scale=Scale()), channels
    for number, outputs in enumerate(widths, 1):
        stages[f"conv{number}1"] = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())
        stages[f"conv{number}2"] = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        inputs = outputs
    flat = inputs * (side >> len(widths)) ** 2
    stages["neck"] = nn.Sequential(nn.Flatten(), nn.Linear(flat, 256), nn.Sigmoid())
    stages["head"] = nn.Linear(256, classes)
    return nn.Sequential(stages)


class Layer(nn.Module):
    """A transformer layer, norm first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, tokens, width]`."""
        parts = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class ViT(nn.Module):
    """Patches, learnt positions, transformer layers, mean over tokens, one linear layer."""

    def __init__(
        self, classes: int = 10, channels: int = 3, side: int = 16, patch: int = 4, width: int = 64, depth: int = 5
    ) -> None:
        super().__init__()
        self.scale, self.patches = Scale(), nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2, width))
        self.layers = nn.Sequential(*(Layer(width, 4) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images to class scores."""
        tokens = self.patches(self.scale(x)).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.layers(tokens)).mean(1))  # type: ignore[no-any-return]


def mlp(inputs: int, classes: int, widths: tuple[int, ...] = (48, 32, 16, 8)) -> nn.Module:
    """A perceptron whose layers narrow; images are flattened."""
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    for number, outputs in enumerate(widths, 1):
        layers[f"layer{number}"] = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU())
        inputs = outputs
    layers["head"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)
