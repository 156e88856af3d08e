"""Models as people write them: audio, text, tables, recommenders, U-Nets, several inputs and outputs, precisions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo_entries import Entry, arrays, tokens


class Keywords(nn.Module):
    """Key-word spotting: mel bands, an LSTM both ways, the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.normal = nn.BatchNorm1d(40)
        self.lstm = nn.LSTM(40, 32, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 12)

    def forward(self, mel: Tensor) -> Tensor:
        sequence, _ = self.lstm(self.normal(mel).transpose(1, 2))
        return self.head(sequence.mean(1))


class Sentiment(nn.Module):
    """Token ids, a GRU, its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(200, 16, padding_idx=0)
        self.gru = nn.GRU(16, 24, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(24, 2))

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.gru(self.words(ids))[1][-1])


class Table(nn.Module):
    """Numbers and categories of a table: embeddings beside batch-normalised columns, then a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.categories = nn.ModuleList(nn.Embedding(size, 4) for size in (7, 12, 3))
        self.normal = nn.BatchNorm1d(9)
        self.layers = nn.Sequential(
            nn.Linear(21, 64), nn.ReLU(inplace=True), nn.BatchNorm1d(64), nn.Linear(64, 32), nn.SELU(), nn.Linear(32, 1)
        )

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        embedded = [table(categories[:, i]) for i, table in enumerate(self.categories)]
        return self.layers(torch.cat([self.normal(numbers), *embedded], 1)).squeeze(1)


class Recommender(nn.Module):
    """Two ids, their embeddings, a perceptron on both: neural collaborative filtering, the recommender of dFIL."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(943, 32), nn.Embedding(1682, 32)
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(torch.cat([self.user(user), self.item(item)], -1)))


class UNet(nn.Module):
    """Three scales, transposed convolutions up, skips across."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 16, 32)
        self.down = nn.ModuleList(self._block(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in ((16, 32), (8, 16)))
        self.merge = nn.ModuleList(self._block(2 * a, a) for a in (16, 8))
        self.head = nn.Conv2d(8, 2, 1)

    @staticmethod
    def _block(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([skip, up(x)], 1))
        return self.head(x)


class Autoencoder(nn.Module):
    """A variational autoencoder's forward in eval mode: reconstruction, mean and variance by name."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 32))
        self.mean, self.logvar = nn.Linear(32, 8), nn.Linear(32, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 196), nn.Unflatten(1, (1, 14, 14)), nn.Upsample(scale_factor=2))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.encoder(x)
        mean = self.mean(hidden)
        return {"x": torch.sigmoid(self.decoder(mean)), "mean": mean, "logvar": self.logvar(hidden)}


@dataclass
class Estimate:
    """What `Fusion` returns."""

    depth: Tensor
    features: list[Tensor]


torch.export.register_dataclass(Estimate, serialized_type_name="zoo.Estimate")


class Fusion(nn.Module):
    """A camera and a vector of readings, fused late; returns a dataclass that holds a list."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.Hardswish(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.readings, self.head = nn.Linear(6, 32), nn.Linear(64, 1)

    def forward(self, image: Tensor, *, readings: Tensor) -> Estimate:
        seen, read = self.eye(image), self.readings(readings).tanh()
        return Estimate(self.head(torch.cat([seen, read], 1)), [seen, read])


class Language(nn.Module):
    """A decoder whose output layer is its embedding, with a causal mask kept as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 32)
        self.places = nn.Parameter(torch.randn(1, 16, 32) * 0.02)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu", norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 100, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("causal", nn.Transformer.generate_square_subsequent_mask(16))

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.blocks(self.words(ids) + self.places, mask=self.causal, is_causal=True))


def small_cnn() -> nn.Module:
    """A plain net for the precisions and memory formats."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, groups=2), nn.GELU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def families() -> list[Entry]:
    """All of them."""

    def pair(n: int) -> Any:
        return tokens(943)(n), tokens(1682, seed=1)(n)

    def table(n: int) -> Any:
        return arrays(9)(n), tokens(3, 3)(n)

    def camera(n: int) -> Any:
        return {"image": arrays(3, 24, 24)(n), "readings": arrays(6)(n)}

    return [
        Entry("lstm_audio", Keywords, arrays(40, 50)),
        Entry("gru_text", Sentiment, tokens(200, 20)),
        Entry("mlp_table", Table, table),
        Entry("recommender", Recommender, pair),
        Entry("unet", UNet, arrays(3, 32, 32)),
        Entry("autoencoder_dict", Autoencoder, arrays(1, 28, 28)),
        Entry("fusion_dataclass", Fusion, camera),
        Entry("language_tied", Language, tokens(100, 16)),
        Entry("float16", lambda: small_cnn().half(), arrays(3, 16, 16, dtype=torch.float16)),
        Entry("bfloat16", lambda: small_cnn().bfloat16(), arrays(3, 16, 16, dtype=torch.bfloat16)),
        Entry("float64", lambda: small_cnn().double(), arrays(3, 16, 16, dtype=torch.float64)),
        Entry("channels_last", lambda: small_cnn().to(memory_format=torch.channels_last), _channels_last(16)),
    ]


def _channels_last(pixels: int) -> Callable[[int], Tensor]:
    return lambda n: arrays(3, pixels, pixels)(n).to(memory_format=torch.channels_last)


def nasty() -> list[Entry]:
    """The nets of the tests: in-place writes, buffers, shared modules, views, regions without gradients, ...."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.models import ZOO

    return [Entry(name, specimen.model, specimen.inputs) for name, specimen in ZOO.items()]
