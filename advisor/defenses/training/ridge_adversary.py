"""The closed-form adversary as a privacy term: at its optimum in every step, on features that learn against the fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from advisor.defenses.training.opponents import MapReader, RowReader
from advisor.defenses.training.terms import PrivacyTerm, Step
from advisor.measures.decoders.activation_layouts import grid
from advisor.measures.flat_rows import side_by_side
from advisor.measures.images import is_image_batch
from advisor.measures.kernel_ridge import SCALES, leading_directions, leave_one_out_nmse, shrunken
from advisor.measures.local_ridge import local_nmse, random_filters

MOST_PLACES, FEWEST_MAPS = 4096, 16
"""The local regression uses so many places of maps in one step: of whole maps, where these are not too large."""


MOST_ELEMENTS = 32_768
"""Of a payload as a row, for which features are found: the first layer of what finds them has 256 weights for each."""


class Readers(nn.Module):
    """What finds features for the regressions: one for each map, and one for the payload as a row if it is not long."""

    def __init__(self, maps: list[Tensor], elements: int, features: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList([MapReader(z.shape[1], features) for z in maps])
        self.row = RowReader(elements, features) if elements <= MOST_ELEMENTS else None


@dataclass
class RidgeAdversary(PrivacyTerm):
    """Ours: what ridge regressions from the sent payload to the inputs are left with, in closed form.

    One is global: kernel ridge regression on whole payloads, fitted to the batch and a bank of the last batches. One is
    local: it reads payloads that are maps, or grids of tokens, as a convolution does, place by place. Each is scored on
    the batch by its leave-one-out error. Beside fixed features both have some of small networks that learn with each
    step to lower that error: a regression alone is blind to what a decoder sees after a few layers.

    Attributes:
        weight: of min(NMSE, 1).
        bank: past batches that the global regression also learns from.
        local: share of the local regression, 0 to 1, where payload and input are maps; else the global has all.
        filters: random features of the local regression.
        scales: widths of the global one's Gaussian kernels, in units of the median distance.
        directions: leading principal directions of the shrunken inputs that the global one is to recover; 0: all.
        features: that learn; 0: none.
        side: pixels a side to which images are shrunken for the global one.
    """

    weight: float
    bank: int = 3
    local: float = 0.75
    filters: int = 64
    scales: tuple[float, ...] = SCALES
    directions: int = 0
    features: int = 64
    side: int = 16
    against: ClassVar[tuple[str, ...]] = ("linear_nmse", "kernel_nmse", "linear_gain")
    _readers: Readers | None = field(default=None, repr=False)
    _past: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)
    _basis: Tensor | None = field(default=None, repr=False)

    @property
    def opponent(self) -> nn.Module | None:
        """The networks that find features."""
        return self._readers

    def meet(self, step: Step) -> None:
        """Make the networks."""
        if self.features:
            made = Readers(_maps(step), _row(step).shape[1], self.features)
            self._readers = made.to(step.payload[0].device)

    def begin(self, epoch: int) -> None:
        """Empty the bank."""
        self._past, self._basis = [], None

    def loss(self, step: Step) -> Tensor:
        """−weight · NMSE, which the payload raises up to 1."""
        maps = _maps(step)
        share = self.local if maps else 0.0
        found = step.payload[0].new_zeros(())
        if share < 1:
            found = found + (1 - share) * self._global(step)
        if share > 0:
            found = found + share * torch.stack([self._local(i, z, step.hidden) for i, z in enumerate(maps)]).min()
        return -self.weight * found

    def _global(self, step: Step) -> Tensor:
        row, targets = _row(step), self._wanted(step.hidden)
        known = [(row, targets), *self._past]
        self._past = [(row.detach(), targets), *self._past][: self.bank]
        rows = torch.cat([f for f, _ in known])
        reader = None if self._readers is None else self._readers.row
        learnt = None if reader is None else reader(_scaled(rows))
        targets = torch.cat([t for _, t in known])
        return _hinged(leave_one_out_nmse(rows, targets, len(row), scales=self.scales, learnt=learnt), row)

    def _wanted(self, inputs: Tensor) -> Tensor:
        wanted = shrunken(inputs.detach().float(), self.side)
        if not self.directions:
            return wanted
        if self._basis is None:
            self._basis = leading_directions(wanted, self.directions)
        return wanted @ self._basis

    def _local(self, number: int, sent: Tensor, inputs: Tensor) -> Tensor:
        each = sent.shape[2] * sent.shape[3]
        some = torch.randperm(len(sent), device=sent.device)[: max(FEWEST_MAPS, MOST_PLACES // each)]
        sent, inputs = sent[some], inputs[some].detach().float()
        rows = torch.randperm(each * len(sent))[:MOST_PLACES] if each * len(sent) > MOST_PLACES else None
        reader = None if self._readers is None else self._readers.maps[number]
        filters = random_filters(sent.shape[1], self.filters)
        return _hinged(local_nmse(sent, inputs, filters, rows=rows, reader=reader), sent)


def _maps(step: Step) -> list[Tensor]:
    """What is sent as maps `[n, C, h, w]`, where the input is an image."""
    if not is_image_batch(step.hidden):
        return []
    height, width = step.hidden.shape[-2:]
    found = [grid(z, (height, width)) for z in step.payload]
    return [z for z in found if z is not None and min(z.shape[2:]) > 1]


def _hinged(nmse: Tensor, sent: Tensor) -> Tensor:
    """Beyond the error of the mean nothing is gained: no gradient reaches what is sent, and the opponent learns on."""
    if sent.requires_grad and float(nmse.detach()) > 1:
        sent.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
    return nmse


def _row(step: Step) -> Tensor:
    """What is sent as rows `[n, D]`."""
    return side_by_side(step.payload)


def _scaled(rows: Tensor) -> Tensor:
    """Centred, of mean square 1."""
    centred = rows - rows.mean(0)
    return centred / centred.square().mean().sqrt().clamp_min(1e-12)
