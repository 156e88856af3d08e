"""Payload: what leaves the edge, and the one path from there to the cloud half: defend, send, receive, restore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from advisor.batches import carried, first_scores
from advisor.cuts import Cut
from advisor.defenses import Defense, as_defense
from advisor.errors import CutError

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph


@dataclass(frozen=True, eq=False)
class Payload:
    """A cut of a graph (or of a variant, which is one) and what is done to the activation there before it is sent.

    Attributes:
        graph: the traced model.
        cut: where the edge half stops.
        defense: what happens between it and the cloud half.
    """

    graph: PartitionGraph
    cut: Cut
    defense: Defense

    @classmethod
    def of(cls, graph: PartitionGraph, cut: Cut | int | str, defense: Defense | str | None = None) -> Payload:
        """The payload at a cut given by itself, its index or name, after a defense given by itself or its text.

        Raises:
            CutError: when there is no such cut, or the defense does not fit its activation, as none fits integers.
            AdvisorError: when there is no such defense.
        """
        found, chosen = graph.cut(cut), as_defense(defense)
        if not chosen.identity and (spec := found.undefendable):
            raise CutError(
                f"The activation at {found.name!r} is {spec.dtype}: {chosen} needs floating-point numbers.",
                "Cut elsewhere, or use no defense.",
            )
        if (own := graph.made_for(found)) and own not in chosen.names:
            raise CutError(
                f"The payload at {found.name!r} is sent by {own}, which draws it: without it, it means nothing.",
                f"Pass the defense {own!r}, or a chain that begins with it.",
            )
        if reason := chosen.misfit(found):
            raise CutError(f"{chosen} does not fit the payload at {found.name!r}: {reason}.", "Use another defense.")
        return cls(graph, found, chosen)

    def transmit(self, activations: Sequence[Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """What the cloud half gets of activations `[n, ...]`: defended, sent, received and restored."""
        return self.defense.transmit(activations, generator)

    def scores(self, activations: Sequence[Tensor], seed: int) -> Tensor | None:
        """The model's first floating-point output `[n, ...]` from what is received; None if it has none."""
        received = self.transmit(activations, torch.Generator().manual_seed(seed))
        return first_scores(self.graph, received, self.cut.index)

    def scores_of(self, inputs: Sequence[Tensor], seed: int, rows: int) -> Tensor | None:
        """As `scores`, from flat inputs `[n, ...]`, so many at a time: the activation is never held whole."""
        generator, parts = torch.Generator().manual_seed(seed), []
        for batch in zip(*(torch.split(t, rows) for t in inputs), strict=True):
            received = self.transmit(carried(self.graph, batch, 0, self.cut.index), generator)
            found = first_scores(self.graph, received, self.cut.index)
            if found is None:
                return None
            parts.append(found)
        return torch.cat(parts)

    def halves(self, tail: Cut | int | str | None = None) -> tuple[nn.Module, ...]:
        """Edge and cloud with the defense inside, and the edge's tail where there is one; bare without a defense.

        What comes back from the cloud to a tail is sent as it is: it says nothing that the cloud does not know.
        """
        edge, cloud, *rest = self.graph.split(self.cut, tail)
        if self.defense.identity:
            return edge, cloud, *rest
        dtypes = [getattr(torch, spec.dtype) for spec in self.cut.tensors]
        return DefendedEdge(edge, self.defense), DefendedCloud(cloud, self.defense, dtypes), *rest

    def __str__(self) -> str:
        return f"{self.cut} + {self.defense}"


class DefendedEdge(nn.Module):
    """The edge half with its defense: what it returns is what is sent, a tuple where the cut has several tensors."""

    def __init__(self, edge: nn.Module, defense: Defense) -> None:
        super().__init__()
        self.edge = edge
        self.defense = defense

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's inputs to the message."""
        activation = self.edge(*args, **kwargs)
        if isinstance(activation, Tensor):
            return self.defense.send((activation,))[0]
        return self.defense.send(activation)


class DefendedCloud(nn.Module):
    """The cloud half after the defense's inverse, which gives each tensor back in the dtype that the half takes."""

    def __init__(self, cloud: nn.Module, defense: Defense, dtypes: Sequence[torch.dtype]) -> None:
        super().__init__()
        self.cloud = cloud
        self.defense = defense
        self.dtypes = tuple(dtypes)

    def forward(self, *message: Any) -> Any:
        """The message to the model's outputs: as the edge returned it, or its tensors one by one, as they arrive."""
        arrived, wires = iter(_leaves(message)), []
        for dtype in self.defense.sent(self.dtypes):
            roles = self.defense.wire_roles if dtype.is_floating_point else ("values",)
            parts = tuple(next(arrived) for _ in roles)
            wires.append(parts if len(parts) > 1 else parts[0])
        return self.cloud(*self.defense.receive(wires, self.dtypes))


def _leaves(message: Any) -> list[Tensor]:
    """The tensors of nested tuples, in order."""
    return [message] if isinstance(message, Tensor) else [leaf for part in message for leaf in _leaves(part)]
