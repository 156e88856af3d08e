"""The inversion networks of the attacks: a linear part solved in closed form, and a network that corrects it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from advisor.measures.decoders.activation_layouts import Layout, flat_vector
from advisor.measures.decoders.decoder import Decoder
from advisor.measures.decoders.heavy_tails import FEW, log_view
from advisor.measures.decoders.map_decoder import MapDecoder, cells_of, map_width
from advisor.measures.decoders.map_sizes import FEW_CELLS
from advisor.measures.decoders.vector_decoder import VectorDecoder

PERCEPTRON = 4
"""Hidden units of a perceptron for each channel of the convolutional network."""

DecoderFamily = Callable[[Tensor, Layout, Tensor, Tensor, int, int], list[Callable[[], Decoder]]]
"""What `decoders_for` is: from features, layout, targets, samples to learn from, width and depth to decoders."""


def decoders_for(
    features: Tensor, layout: Layout, pixels: Tensor, train: Tensor, width: int, depth: int
) -> list[Callable[[], Decoder]]:
    """The decoders that fit a layout, to be made one by one; the best on samples it did not learn from should be taken.

    A map of few cells is also read as a vector: its linear part then sees all cells at once. A vector whose elements
    span many decades is also read on a logarithmic scale.

    Args:
        features: as arranged, of all samples.
        layout: how they are read.
        pixels: the targets of all samples.
        train: samples to learn from.
        width, depth: of the network; width at 32×32 cells.
    """
    on_map: list[Callable[[], Decoder]] = []
    if layout.kind == "map":
        cells = cells_of(features, layout)
        on_map = [partial(MapDecoder, features, pixels, train, layout.factor, map_width(width, cells), depth)]
        if cells > FEW_CELLS:
            return on_map
        features = flat_vector([features])
    on_vector = partial(VectorDecoder, features, pixels, train, PERCEPTRON * width, depth)
    views = [None] if (logarithmic := log_view(features[train[:FEW]])) is None else [None, logarithmic]
    return on_map + [partial(on_vector, curved, view) for view in views for curved in (False, True)]
