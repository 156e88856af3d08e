"""The halves with a defense between them: edge, cloud, and the tail where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from advisor.errors import CutError

if TYPE_CHECKING:
    from advisor.cuts import Cut
    from advisor.defenses import Defense
    from advisor.graph import PartitionGraph


class DefendedEdge(nn.Module):
    """The edge half with its defense: what it returns is what is sent, a tuple where several tensors cross."""

    def __init__(self, edge: nn.Module, defense: Defense) -> None:
        super().__init__()
        self.edge = edge
        self.defense = defense

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's inputs to the wire."""
        crossing = self.edge(*args, **kwargs)
        if isinstance(crossing, Tensor):
            return self.defense.send((crossing,))[0]
        return self.defense.send(crossing)


class DefendedCloud(nn.Module):
    """The cloud half after the defense's inverse, which gives each tensor back in the dtype that the half takes."""

    def __init__(self, cloud: nn.Module, defense: Defense, dtypes: Sequence[torch.dtype]) -> None:
        super().__init__()
        self.cloud = cloud
        self.defense = defense
        self.dtypes = tuple(dtypes)

    def forward(self, *wire: Any) -> Any:
        """What was sent to the model's outputs."""
        if len(self.dtypes) > 1 and len(wire) == 1:
            wire = tuple(wire[0])
        return self.cloud(*self.defense.receive(wire, self.dtypes))


def defended_parts(
    graph: PartitionGraph, head: Cut, defense: Defense, tail: Cut | None = None
) -> tuple[nn.Module, ...]:
    """Edge and cloud with the defense inside, and the edge's tail where there is one; bare where there is no defense.

    What comes back from the cloud to a tail is sent as it is: it says nothing that the cloud does not know.

    Raises:
        CutError: when the activation is no floating-point tensor, which no defense can change without breaking it.
    """
    head = graph.cut(head)
    edge, cloud, *rest = graph.split(head, tail)
    if defense.name == "none":
        return edge, cloud, *rest
    if spec := head.undefendable:
        raise CutError(
            f"The activation at {head.name!r} is {spec.dtype}: {defense} needs floating-point numbers.",
            "Cut elsewhere, or use no defense.",
        )
    dtypes = [getattr(torch, spec.dtype) for spec in head.tensors]
    return DefendedEdge(edge, defense), DefendedCloud(cloud, defense, dtypes), *rest
