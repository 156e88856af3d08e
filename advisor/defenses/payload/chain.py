"""Several defenses as one, in the one order in which they compose: draw, clip, noise, mask, quantise, pack."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from advisor.cuts import Cut
from advisor.defenses.payload.base import STAGES, Defense, T
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Chain(Defense):
    """Members one after the other; what the last one makes of the activation is sent.

    Attributes:
        members: at least two, none of them a chain or "none", sorted by `STAGES` when the chain is made.
    """

    members: tuple[Defense, ...]
    name: ClassVar[str] = "chain"

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.members, key=lambda member: STAGES.index(member.stage)))
        if len(ordered) < 2 or any(member.identity or member.name == self.name for member in ordered):
            raise AdvisorError("A chain needs at least two defenses.", "Write for example gaussian:sigma=0.5+int8.")
        if sum(member.stage == "draw" for member in ordered) > 1:
            raise AdvisorError("Two defenses of a chain draw from the payload.", "Leave one of them out.")
        early = [member.name for member in ordered[:-1] if len(member.wire_roles) > 1]
        if early:
            raise AdvisorError(
                f"{early[0]} must be the last of a chain: it sends codes, which no other defense takes.",
                "Leave the others of its kind out.",
            )
        object.__setattr__(self, "members", ordered)

    @property
    def last(self) -> Defense:
        """The member that makes what is sent."""
        return self.members[-1]

    @property
    def wire_roles(self) -> tuple[str, ...]:  # type: ignore[override]  # of the last member
        """What each tensor that is sent is."""
        return self.last.wire_roles

    @property
    def names(self) -> tuple[str, ...]:
        """Of all members."""
        return tuple(member.name for member in self.members)

    @property
    def random(self) -> bool:  # type: ignore[override]  # of any member
        """Whether a member draws anew for each transmission."""
        return any(member.random for member in self.members)

    @property
    def exportable(self) -> bool:  # type: ignore[override]  # of all members
        """Whether all members can be written with a half."""
        return all(member.exportable for member in self.members)

    @property
    def broken_by(self) -> tuple[str, ...]:  # type: ignore[override]  # of all members
        """Every attack that a member must face."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.broken_by))

    def draw(self, tensors: Sequence[Tensor], generator: Generator | None = None) -> tuple[Tensor, ...]:
        """What the first member gives: drawing comes first, and no two members draw."""
        return self.members[0].draw(tensors, generator)

    def sent(self, of: Sequence[T]) -> tuple[T, ...]:
        """What the first member gives."""
        return self.members[0].sent(of)

    def completed(self, received: Sequence[Tensor], dtypes: Sequence[torch.dtype]) -> tuple[Tensor, ...]:
        """What the first member gives."""
        return self.members[0].completed(received, dtypes)

    def misfit(self, cut: Cut) -> str:
        """The first reason of a member."""
        return next((reason for member in self.members if (reason := member.misfit(cut))), "")

    def apply(self, z: Tensor, generator: Generator | None = None) -> Any:
        """Each member's change in turn, `z` of shape `[N, ...]`."""
        for member in self.members[:-1]:
            z = member.restore(member.apply(z, generator)).to(z.dtype)
        return self.last.apply(z, generator)

    def restore(self, wire: Any) -> Tensor:
        """The tensor `[N, ...]` that the last member restores."""
        return self.last.restore(wire)

    def wire_bytes(self, cut: Cut) -> int:
        """Bytes of what the last member sends for one sample."""
        return self.last.wire_bytes(dataclasses.replace(cut, tensors=self.sent(cut.tensors)))

    def wire_step(self, z: Tensor) -> float:
        """Rounding step of what the last member sends."""
        return self.last.wire_step(z)

    def strengthen(self) -> Self | None:
        """The chain with the first member that has a dial turned up."""
        for place, member in enumerate(self.members):
            if (more := member.strengthen()) is not None:
                return type(self)((*self.members[:place], more, *self.members[place + 1 :]))
        return None

    @property
    def noise(self) -> float:
        """Independent noises add in variance."""
        return math.hypot(*(member.noise for member in self.members))

    @property
    def guaranteed_variance(self) -> float:
        """Of all Gaussian noises: what comes before them only contracts, what comes after adds no information."""
        return math.fsum(member.guaranteed_variance for member in self.members)

    def noise_equivalent(self, tensors: Sequence[Tensor]) -> float | None:
        """Independent noises add in variance; None where a member is no noise."""
        levels = [member.noise_equivalent(tensors) for member in self.members]
        return None if None in levels else math.hypot(*(level for level in levels if level is not None))

    @property
    def parameters(self) -> dict[str, Any]:
        """The members as data."""
        return {"members": [{"name": member.name, "parameters": member.parameters} for member in self.members]}

    @property
    def spec(self) -> str:
        """`gaussian:sigma=0.5+int8`."""
        return "+".join(member.spec for member in self.members)

    def __str__(self) -> str:
        return " + ".join(map(str, self.members))
