"""Writes in place keep their gradient through the halves, complex ones too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advisor.tracing.tracer import trace


class Spectral2d(nn.Module):
    """The lowest frequencies of both signs mixed over channels, as a Fourier neural operator does."""

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.weights = nn.Parameter(0.3 * torch.randn(2, channels, channels, modes, modes, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        seen, m = torch.fft.rfft2(x), self.modes
        mixed = torch.zeros_like(seen)
        mixed[:, :, :m, :m] = torch.einsum("bixy,ioxy->boxy", seen[:, :, :m, :m], self.weights[0])
        mixed[:, :, -m:, :m] = torch.einsum("bixy,ioxy->boxy", seen[:, :, -m:, :m], self.weights[1])
        return torch.fft.irfft2(mixed, s=x.shape[-2:])


class Operator2d(nn.Module):
    """A layer of a Fourier neural operator between two 1 x 1 convolutions, without a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.spectral, self.last = nn.Conv2d(2, 3, 1), Spectral2d(3, 2), nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.gelu(self.spectral(self.first(x))))


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _copied_into_transposed(x: Tensor) -> Tensor:
    memory = torch.empty(x.shape[0], 6, 4).transpose(1, 2)
    memory.copy_(x.sin())
    return memory.transpose(1, 2).view(x.shape[0], 24) * 2


def _cast_while_copied(x: Tensor) -> Tensor:
    memory = torch.zeros(x.shape[0], 4, 6)
    memory.copy_(x.double().exp()[:, :1])
    return memory * 2


def _conjugated(x: Tensor) -> Tensor:
    out = torch.zeros(x.shape[0], 4, 6, dtype=torch.cfloat)
    out[..., 1:4] = torch.fft.rfft(x)[..., :3].conj()
    out[..., 0] = torch.fft.rfft(x)[..., 3] * 1j
    return out.abs()


def _zeroed(x: Tensor) -> Tensor:
    seen = torch.fft.rfft(x)
    seen[:, 1].zero_()
    return torch.fft.irfft(seen, n=6)


def _filtered_by_select(x: Tensor) -> Tensor:
    seen = torch.fft.rfft(x)
    seen[..., -1] = seen[..., 0] * 2
    seen[..., ::2] *= 0.5
    return torch.fft.irfft(seen, n=6)


def _through_a_view(x: Tensor) -> Tensor:
    """A write that only torch's functionalisation of the whole program makes explicit."""
    seen = torch.fft.rfft(x)
    seen.transpose(1, 2)[:, :2, 1:] = 0.25
    return torch.fft.irfft(seen, n=6)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Operator2d, (2, 8, 8)),
        (lambda: Function(_copied_into_transposed), (4, 6)),
        (lambda: Function(_cast_while_copied), (4, 6)),
        (lambda: Function(_conjugated), (4, 6)),
        (lambda: Function(_zeroed), (4, 6)),
        (lambda: Function(_filtered_by_select), (4, 6)),
        (lambda: Function(_through_a_view), (4, 6)),
    ],
)
def test_halves_compute_the_bits_and_the_gradient_of_the_model(
    model: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    whole, x = model().eval(), torch.rand(3, *shape)
    meant = _gradient(whole, x)
    assert meant.abs().sum() > 0
    graph = trace(whole, x[:2])
    assert len(graph.cuts) > 3
    for cut in graph.cuts:
        edge, cloud = graph.split(cut)
        assert torch.equal(cloud(edge(x)), whole(x)), cut.name
        assert torch.equal(_gradient(lambda v, e=edge, c=cloud: c(e(v)), x), meant), cut.name  # type: ignore[misc]


def _gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    given = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(given).square().sum(), given)
    return gradient
