"""Inversion networks of another shape than those that are trained against: wider, and with a wider view.

On maps blocks of a depthwise 7×7 convolution and a perceptron at each place (ConvNeXt: Liu et al., CVPR 2022), on
vectors perceptrons whose layers add to what they read. The linear part is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from advisor.measures.decoders.activation_layouts import Layout, flat_vector
from advisor.measures.decoders.decoder import Decoder, zeroed
from advisor.measures.decoders.map_decoder import Entry, MapDecoder, cells_of, map_width
from advisor.measures.decoders.map_sizes import FEW_CELLS
from advisor.measures.decoders.usual_decoders import PERCEPTRON
from advisor.measures.decoders.vector_decoder import VectorDecoder

TIMES = 2
"""So many channels for each of the usual network."""

EXPANSION = 4
"""Hidden units of the perceptron at each place, for each channel."""


class WideBlock(nn.Module):
    """x + perceptron(norm(depthwise 7×7(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width), nn.GroupNorm(1, width),
            nn.Conv2d(width, EXPANSION * width, 1), nn.GELU(), nn.Conv2d(EXPANSION * width, width, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        return x + self.body(x)  # type: ignore[no-any-return]


class AddingLayer(nn.Module):
    """x + linear(act(linear(norm(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        return x + self.body(x)  # type: ignore[no-any-return]


class WideMapDecoder(MapDecoder):
    """As `MapDecoder`, by a network of wide blocks."""

    def __init__(self, features: Tensor, pixels: Tensor, train: Tensor, factor: int, width: int, depth: int) -> None:
        super().__init__(features, pixels, train, factor, 1, 0)
        blocks = (WideBlock(width) for _ in range(depth))
        head = nn.Conv2d(width, self.goal.shape[1], 1)
        self.network = nn.Sequential(Entry(features.shape[1], width, 3, self.size), *blocks, nn.GELU(), zeroed(head))


class WideVectorDecoder(VectorDecoder):
    """As `VectorDecoder`, by a network of adding layers."""

    def __init__(
        self, features: Tensor, pixels: Tensor, train: Tensor, width: int, depth: int, curved: bool = False
    ) -> None:
        super().__init__(features, pixels, train, 1, 0, curved)
        layers = (AddingLayer(width) for _ in range(depth + 1))
        self.network = nn.Sequential(
            nn.Linear(features.shape[1], width), *layers, nn.SiLU(), zeroed(nn.Linear(width, self.basis.shape[1]))
        )


def wide_decoders_for(
    features: Tensor, layout: Layout, pixels: Tensor, train: Tensor, width: int, depth: int
) -> list[Callable[[], Decoder]]:
    """As `decoders_for`, of the other shape and twice as wide."""
    on_map: list[Callable[[], Decoder]] = []
    width *= TIMES
    if layout.kind == "map":
        cells = cells_of(features, layout)
        wide = map_width(width, cells)
        on_map = [partial(WideMapDecoder, features, pixels, train, layout.factor, wide, depth)]
        if cells > FEW_CELLS:
            return on_map
        features = flat_vector([features])
    return on_map + [
        partial(WideVectorDecoder, features, pixels, train, PERCEPTRON * width, depth, curved)
        for curved in (False, True)
    ]
