"""Encoder and decoder of a narrow payload, for maps, tokens and vectors; several tensors have a pair each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.cuts import TensorSpec
from advisor.errors import AdvisorError
from advisor.measures.principal_components import blocks_of, principal

START = 0.5
"""Spread of each number of the payload at the start of a fit: tanh is nearly straight there."""


class Passing(nn.Module):
    """Tensors as they are."""

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The tensors."""
        return tensors[0] if len(tensors) == 1 else tensors


class Standardise(nn.Module):
    """(z − mean) / spread by channel, as measured on training samples; `back` undoes it.

    Args:
        mean, spread: shaped to broadcast over one sample.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)

    def forward(self, z: Tensor) -> Tensor:
        """In units of the channels' own spread."""
        return (z - self.mean) / self.spread

    def back(self, z: Tensor) -> Tensor:
        """In units of the activation."""
        return z * self.spread + self.mean


class MapEncoder(nn.Module):
    """`[N, C, H, W]` to `[N, width, ⌈H/stride⌉, ⌈W/stride⌉]` in (−1, 1)."""

    def __init__(self, scale: Standardise, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.scale = scale
        kernel = kernel_of(stride)
        self.mix = nn.Conv2d(channels, width, kernel, stride, kernel // 2)

    def forward(self, z: Tensor) -> Tensor:
        """What is sent, before noise."""
        return torch.tanh(self.mix(self.scale(z)))


class MapDecoder(nn.Module):
    """The payload to `[N, C, H, W]`: a linear way back, and what a small residual block adds."""

    def __init__(self, scale: Standardise, shape: Sequence[int], width: int, stride: int) -> None:
        super().__init__()
        self.scale = scale
        kernel, channels = kernel_of(stride), shape[0]
        left = [(side - 1) % stride for side in shape[1:]]
        self.spread = nn.ConvTranspose2d(width, channels, kernel, stride, kernel // 2, (left[0], left[1]))
        self.widen, self.refine = nn.Conv2d(channels, channels, 3, 1, 1), nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, sent: Tensor) -> Tensor:
        """What the cloud half reads."""
        z = self.spread(sent)
        return self.scale.back(z + self.refine(F.gelu(self.widen(z))))


class RowEncoder(nn.Module):
    """The last dimension to `width` numbers in (−1, 1): of a vector `[N, D]`, or of each token `[N, T, D]`."""

    def __init__(self, scale: Standardise, elements: int, width: int) -> None:
        super().__init__()
        self.scale = scale
        self.mix = nn.Linear(elements, width)

    def forward(self, z: Tensor) -> Tensor:
        """What is sent, before noise."""
        return torch.tanh(self.mix(self.scale(z)))


class RowDecoder(nn.Module):
    """The payload to the last dimension again: a linear way back, and what a small residual block adds."""

    def __init__(self, scale: Standardise, elements: int, width: int) -> None:
        super().__init__()
        self.scale = scale
        self.spread = nn.Linear(width, elements)
        self.widen, self.refine = nn.Linear(width, elements), nn.Linear(elements, elements)

    def forward(self, sent: Tensor) -> Tensor:
        """What the cloud half reads."""
        return self.scale.back(self.spread(sent) + self.refine(F.gelu(self.widen(sent))))


def kernel_of(stride: int) -> int:
    """The odd side of a kernel that misses no place of a map, 3 at least."""
    return max(3, stride + 1 - stride % 2)


class Each(nn.Module):
    """One module for each floating tensor of a cut, in order; masks and the like pass as they are."""

    def __init__(self, parts: Sequence[nn.Module | None]) -> None:
        super().__init__()
        self.parts = nn.ModuleList([part for part in parts if part is not None])
        self.own = tuple(part is not None for part in parts)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The tensors, each through its module."""
        parts = iter(self.parts)
        done = tuple(next(parts)(z) if own else z for z, own in zip(tensors, self.own, strict=True))
        return done[0] if len(done) == 1 else done


def bottleneck(
    specs: Sequence[TensorSpec], samples: Sequence[Tensor], width: int, stride: int
) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder for a cut's tensors, at a start that torch's generator and the samples decide.

    Args:
        specs: of the cut's tensors.
        samples: activations there, each `[n, ...]`: what the channels' mean and spread are measured on.
        width: channels of the payload, or numbers a token or vector.
        stride: by which maps are also reduced; others have none.

    Raises:
        AdvisorError: when there is nothing narrower to send, or a tensor of a kind that has no bottleneck.
    """
    if width < 1 or stride < 1:
        raise AdvisorError(f"A bottleneck of width {width} and stride {stride} makes no sense.", "Pass 1 or more.")
    pairs = [
        _pair(spec, z, width, stride) if spec.is_floating else None for spec, z in zip(specs, samples, strict=True)
    ]
    encoder, decoder = ([None if pair is None else pair[i] for pair in pairs] for i in (0, 1))
    return Each(encoder), Each(decoder)


def _pair(spec: TensorSpec, z: Tensor, width: int, stride: int) -> tuple[nn.Module, nn.Module]:
    shape, scale = spec.shape, channel_scale(z)
    if len(shape) == 3:
        encoder, decoder = MapEncoder(scale, shape[0], width, stride), MapDecoder(scale, shape, width, stride)
        start(encoder, decoder, scale(z.float()))
        return encoder, decoder
    return RowEncoder(scale, shape[-1], width), RowDecoder(scale, shape[-1], width)


@torch.no_grad()
def start(encoder: MapEncoder, decoder: MapDecoder, scaled: Tensor) -> None:
    """Set a pair to the principal components of blocks of standardised maps and back; the residual block to nothing.

    Vectors and tokens start at random: of them the leading components are what an attacker wants, and a fit is slow to
    leave them.

    Args:
        encoder, decoder: set in place; components beyond those that the samples tell stay as they are.
        scaled: maps `[n, C, H, W]` in units of their channels' spread.
    """
    for still in (decoder.refine.weight, decoder.refine.bias, encoder.mix.bias, decoder.spread.bias):
        if still is not None:
            nn.init.zeros_(still)
    channels, stride, kernel = scaled.shape[1], encoder.mix.stride[0], encoder.mix.kernel_size[0]
    directions, spread = principal(blocks_of(scaled, stride), len(encoder.mix.weight))
    there, back = directions * (START / spread)[:, None], directions * (spread / START)[:, None]
    first = kernel // 2 - (stride - 1) // 2
    inside = slice(first, first + stride)
    for weight, rows in ((encoder.mix.weight, there), (decoder.spread.weight, back)):
        weight[: len(rows)] = 0.0
        weight[: len(rows), :, inside, inside] = rows.view(len(rows), channels, stride, stride)


def channel_scale(z: Tensor) -> Standardise:
    """By channel of maps `[n, C, H, W]`, by element of tokens `[n, T, D]` and vectors `[n, D]`.

    Raises:
        AdvisorError: on an activation of another kind.
    """
    if z.dim() not in (2, 3, 4):
        raise AdvisorError(
            f"An activation of shape {list(z.shape[1:])} is neither a map, nor tokens, nor a vector.",
            "No bottleneck fits it: cut elsewhere.",
        )
    over = (0, 2, 3) if z.dim() == 4 else tuple(range(z.dim() - 1))
    z = z.float()
    mean, spread = z.mean(over, keepdim=True)[0], z.std(over, keepdim=True)[0]
    return Standardise(mean, spread.clamp_min(1e-3 * float(z.std()) + 1e-12))
