"""Defense: what happens to the activation before it leaves the edge."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from advisor.cuts import Cut

if TYPE_CHECKING:
    from typing import TypeAlias

    import torch
    from torch import Generator, Tensor

    Wire: TypeAlias = Tensor | tuple[Tensor, ...]


class Defense(ABC):
    """One way to change the tensor that crosses; members are frozen dataclasses of plain numbers.

    `apply` runs on the edge and returns what is sent; `restore` runs in the cloud and returns a tensor
    that the cloud half accepts. `send` and `receive` do so for all tensors of a cut.
    """

    name: ClassVar[str]
    search_space: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Free parameters for the search: name -> (low, high), searched on a log scale."""
    wire_roles: ClassVar[tuple[str, ...]] = ("values",)
    """What each tensor that `apply` returns is, in order."""

    @abstractmethod
    def apply(self, z: Tensor, generator: Generator | None = None) -> Wire:
        """What leaves the edge, for `z` of shape `[N, ...]`; randomness comes from `generator`, else from torch's."""

    def send(self, tensors: Sequence[Tensor], generator: Generator | None = None) -> tuple[Wire, ...]:
        """What leaves the edge of all that crosses; a mask (bool) is sent as it is: nothing lies between its values."""
        return tuple(self.apply(z, generator) if z.is_floating_point() else z for z in tensors)

    def receive(self, wires: Sequence[Any], dtypes: Sequence[torch.dtype]) -> tuple[Tensor, ...]:
        """What the cloud half gets of it, in the dtypes that it takes."""
        pairs = zip(wires, dtypes, strict=True)
        return tuple(self.restore(wire).to(dtype) if dtype.is_floating_point else wire for wire, dtype in pairs)

    def restore(self, wire: Any) -> Tensor:
        """The tensor `[N, ...]` that the cloud half receives, from what `apply` returned."""
        restored: Tensor = wire
        return restored

    def wire_bytes(self, cut: Cut) -> int:
        """Bytes sent for one sample."""
        return cut.bytes

    def wire_step(self, z: Tensor) -> float:
        """Rounding step of what is sent, in units of `z`; its square over 12 is the wire's own noise variance."""
        from advisor.defenses.payload.rounding import rounding_step

        return rounding_step(z)

    @property
    def parameters(self) -> dict[str, float]:
        """The numbers that define this member, by name."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value:.4g}" for key, value in self.parameters.items())
        return f"{self.name}({inside})" if inside else self.name
