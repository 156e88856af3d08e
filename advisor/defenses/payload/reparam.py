"""Draws the payload from the mean and log standard deviation that an encoder gives (Kingma and Welling 2014, 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from advisor.cuts import Cut
from advisor.defenses.payload.base import Defense, Stage, T

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Reparam(Defense):
    """Sends mean + exp(log σ) · N(0, 1), fresh for each call; neither mean nor log σ leaves the edge.

    For payloads whose floating tensors come in pairs of one shape, mean then log σ, as of the method `mid`. The cloud
    half gets what was drawn in the place of the mean, and 0 in that of log σ.
    """

    name: ClassVar[str] = "reparam"
    paper: ClassVar[str] = "Kingma and Welling 2014, section 2.4"
    stage: ClassVar[Stage] = "draw"
    random: ClassVar[bool] = True

    def draw(self, tensors: Sequence[Tensor], generator: Generator | None = None) -> tuple[Tensor, ...]:
        """One tensor a pair; masks pass."""
        import torch

        drawn: list[Tensor] = []
        for place, kept in enumerate(tensors):
            if place in (pairs := _pairs([z.is_floating_point() for z in tensors])):
                spread = tensors[pairs[place]]
                noise = torch.randn(kept.shape, generator=generator, dtype=kept.dtype, device=kept.device)
                drawn.append(kept + spread.exp() * noise)
            elif not kept.is_floating_point():
                drawn.append(kept)
        return tuple(drawn)

    def apply(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """What was drawn is sent as it is."""
        return z

    def sent(self, of: Sequence[T]) -> tuple[T, ...]:
        """What belongs to each mean, and to masks."""
        spreads = _pairs([_floats(one) for one in of]).values()
        return tuple(one for place, one in enumerate(of) if place not in spreads)

    def completed(self, received: Sequence[Tensor], dtypes: Sequence[torch.dtype]) -> tuple[Tensor, ...]:
        """With 0 for each log σ."""
        spreads, left = _pairs([dtype.is_floating_point for dtype in dtypes]).values(), iter(received)
        found: list[Tensor] = []
        for place in range(len(dtypes)):
            found.append(found[-1].new_zeros(found[-1].shape) if place in spreads else next(left))
        return tuple(found)

    def misfit(self, cut: Cut) -> str:
        """Floating tensors that do not come in pairs of one shape."""
        floats = [spec for spec in cut.tensors if spec.is_floating]
        fits = floats and floats[::2] == floats[1::2]
        return "" if fits else "it draws from pairs of mean and log σ, as the method mid sends them"

    def wire_bytes(self, cut: Cut) -> int:
        """Of what was drawn."""
        return replace(cut, tensors=self.sent(cut.tensors)).bytes


def _pairs(floats: Sequence[bool]) -> dict[int, int]:
    """Place of each mean, and of its log σ."""
    places = [place for place, is_float in enumerate(floats) if is_float]
    return dict(zip(places[::2], places[1::2], strict=False))


def _floats(one: object) -> bool:
    """Of a tensor, a dtype or a spec."""
    told = getattr(one, "is_floating_point", None) or getattr(one, "is_floating", False)
    return bool(told() if callable(told) else told)
