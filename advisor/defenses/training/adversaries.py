"""Adversaries that are trained beside the defense: anew in every epoch, so that none is learnt by heart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.defenses.training.terms import PrivacyTerm, Step
from advisor.measures.flat_rows import side_by_side
from advisor.measures.gaussian_club import gaussian_club, gaussian_log_likelihood, standardised
from advisor.measures.jacobian_energy import signal_normalised_energy
from advisor.measures.kernel_ridge import shrunken

HIDDEN = 512
RATE = 2e-3


class Reader(nn.Module):
    """Reads targets `[n, p]` from a payload: a residual network of three layers beside a linear one."""

    def __init__(self, elements: int, wanted: int) -> None:
        super().__init__()
        self.straight = nn.Linear(elements, wanted)
        self.curved = nn.Sequential(
            nn.Linear(elements, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, wanted)
        )

    def forward(self, sent: Tensor) -> Tensor:
        """`[n, p]`."""
        return self.straight(sent) + self.curved(sent)  # type: ignore[no-any-return]


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """A payload's tensors as rows `[n, D]`."""
    return side_by_side(tensors)


@dataclass
class InnerAdversary(PrivacyTerm):
    """What the trained adversaries share: a network that is made at the start of an epoch and learns in each step.

    Attributes:
        weight: of the term.
        side: pixels a side to which images are shrunken.
        inner: steps of the adversary a step of the defense.
    """

    weight: float
    side: int = 16
    inner: int = 3
    _network: nn.Module | None = field(default=None, repr=False)
    _optimiser: torch.optim.Optimizer | None = field(default=None, repr=False)

    def begin(self, epoch: int) -> None:
        """Forget the adversary of the epoch before."""
        self._network, self._optimiser = None, None

    def loss(self, step: Step) -> Tensor:
        """Teach the adversary on what was sent, then hold the payload against it."""
        sent, wanted = flat(step.sent), standardised(shrunken(step.hidden.float(), self.side))
        if self._network is None:
            self._network = self.made(sent.shape[1], wanted.shape[1])
            self._optimiser = torch.optim.AdamW(self._network.parameters(), RATE)
        assert self._optimiser is not None
        for _ in range(self.inner):
            self._optimiser.zero_grad()
            with torch.enable_grad():
                self.fitted(self._network, sent.detach(), wanted).backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        return self.weight * self.told(self._network, sent, wanted)

    def made(self, elements: int, wanted: int) -> nn.Module:
        """A fresh adversary."""
        return Reader(elements, wanted)

    def fitted(self, network: nn.Module, sent: Tensor, wanted: Tensor) -> Tensor:
        """What the adversary makes small."""
        return F.mse_loss(network(sent), wanted)

    def told(self, network: nn.Module, sent: Tensor, wanted: Tensor) -> Tensor:
        """What the payload tells it: the defense makes it small."""
        raise TypeError(f"{type(self).__name__} does not say what a payload tells")


@dataclass
class HingedDecoder(InnerAdversary):
    """An adversarial decoder (Li et al. 2022, ResSFL), hinged at the error of the mean: beyond it nothing is gained."""

    against: ClassVar[tuple[str, ...]] = ("linear_nmse",)

    def told(self, network: nn.Module, sent: Tensor, wanted: Tensor) -> Tensor:
        """−min(NMSE, 1): the targets have variance 1."""
        return -F.mse_loss(network(sent), wanted).clamp_max(1.0)


class GaussianReader(nn.Module):
    """Mean and log variance of the targets given the payload."""

    def __init__(self, elements: int, wanted: int) -> None:
        super().__init__()
        self.mean, self.spread = Reader(elements, wanted), nn.Linear(elements, wanted)

    def forward(self, sent: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, p]` each; the log variance lies in (−4, 4)."""
        return self.mean(sent), 4 * torch.tanh(self.spread(sent) / 4)


@dataclass
class Club(InnerAdversary):
    """CLUB with learned variance on the input side (InfoScissors: Duan et al., NeurIPS 2024, equation 8)."""

    against: ClassVar[tuple[str, ...]] = ("club",)

    def made(self, elements: int, wanted: int) -> nn.Module:
        """The variational posterior."""
        return GaussianReader(elements, wanted)

    def fitted(self, network: nn.Module, sent: Tensor, wanted: Tensor) -> Tensor:
        """Minus the log-likelihood of each sample's own input."""
        mean, log_variance = network(sent)
        return -gaussian_log_likelihood(mean, log_variance, wanted).mean()

    def told(self, network: nn.Module, sent: Tensor, wanted: Tensor) -> Tensor:
        """The bound, at least 0."""
        mean, log_variance = network(sent)
        return gaussian_club(mean, log_variance, wanted)


@dataclass
class SignalToNoise(PrivacyTerm):
    """ReFIL's SNR loss: Tr(JᵀJ)/‖z‖² by probes (Maeng et al., NeurIPS 2023, equation 6).

    Attributes:
        weight: of the mean over the batch.
        probes: a sample.
    """

    weight: float
    probes: int = 1
    against: ClassVar[tuple[str, ...]] = ("fisher_snr",)
    through_input: ClassVar[bool] = True

    def loss(self, step: Step) -> Tensor:
        """Weight times the mean."""
        return self.weight * signal_normalised_energy(step.hidden, step.payload, self.probes).mean()
