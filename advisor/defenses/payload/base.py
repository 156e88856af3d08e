"""Defense: what happens to an activation before it is sent, and to what arrives before the cloud half runs."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from advisor.cuts import Cut
from advisor.wire import overhead

if TYPE_CHECKING:
    from typing import TypeAlias

    import torch
    from torch import Generator, Tensor

    from advisor.defenses.payload.space import Distribution

    Wire: TypeAlias = Tensor | tuple[Tensor, ...]

Stage = Literal["draw", "clip", "noise", "mask", "quantise", "pack"]
STAGES: tuple[Stage, ...] = ("draw", "clip", "noise", "mask", "quantise", "pack")
"""The one order in which defenses compose."""

T = TypeVar("T")

Need = Literal["samples", "labels", "fisher", "cloud jacobian"]


@dataclass(frozen=True)
class CutFacts:
    """What a defense may ask about the cut it is set up for.

    Attributes:
        cut: where.
        fisher: Tr(JᵀJ)/d there, 1/x²; NaN where it was not measured.
    """

    cut: Cut
    fisher: float = math.nan


class Defense(ABC):
    """One way to change an activation before it is sent; members are frozen dataclasses of plain numbers.

    `apply` runs on the edge and returns what is sent; `restore` runs in the cloud and returns a tensor that the cloud
    half accepts. `send` and `receive` do so for all tensors of a cut, `transmit` is one after the other.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    """Where it comes from."""
    stage: ClassVar[Stage] = "noise"
    """Where it stands among the defenses that it is composed with."""
    space: ClassVar[Mapping[str, Distribution]] = {}
    """What the search may choose, by name; `at` makes a defense of chosen values."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    """What must be known before it can be set up."""
    random: ClassVar[bool] = False
    """Whether it draws anew for each transmission."""
    exportable: ClassVar[bool] = True
    """Whether it can be written with a half."""
    broken_by: ClassVar[tuple[str, ...]] = ("ka",)
    """Names of the attacks that it must face."""
    identity: ClassVar[bool] = False
    """Whether it changes nothing."""
    wire_roles: ClassVar[tuple[str, ...]] = ("values",)
    """What each tensor that `apply` returns is, in order."""

    # ---- on the way ----------------------------------------------------------------------------------------------

    @abstractmethod
    def apply(self, z: Tensor, generator: Generator | None = None) -> Wire:
        """What leaves the edge, for `z` of shape `[N, ...]`; randomness comes from `generator`, else from torch's."""

    def restore(self, wire: Any) -> Tensor:
        """The tensor `[N, ...]` that the cloud half receives, from what `apply` returned."""
        restored: Tensor = wire
        return restored

    def send(self, tensors: Sequence[Tensor], generator: Generator | None = None) -> tuple[Wire, ...]:
        """What leaves the edge of an activation; a mask (bool) is sent as it is: nothing lies between its values."""
        drawn = self.draw(tensors, generator)
        return tuple(self.apply(z, generator) if z.is_floating_point() else z for z in drawn)

    def receive(self, wires: Sequence[Any], dtypes: Sequence[torch.dtype]) -> tuple[Tensor, ...]:
        """What the cloud half gets of it, in the dtypes that it takes."""
        pairs = zip(wires, self.sent(dtypes), strict=True)
        restored = [self.restore(wire).to(dtype) if dtype.is_floating_point else wire for wire, dtype in pairs]
        return self.completed(restored, dtypes)

    def transmit(self, tensors: Sequence[Tensor], generator: Generator | None = None) -> tuple[Tensor, ...]:
        """What the cloud half gets of an activation, each `[N, ...]` in its own dtype: sent, received and restored."""
        return self.receive(self.send(tensors, generator), [z.dtype for z in tensors])

    def message(self, tensors: Sequence[Tensor], generator: Generator | None = None) -> list[Tensor]:
        """Every tensor of the message: a defense may send several for one."""
        sent = self.send(tensors, generator)
        return [part for wire in sent for part in (wire if isinstance(wire, tuple | list) else (wire,))]

    def draw(self, tensors: Sequence[Tensor], generator: Generator | None = None) -> tuple[Tensor, ...]:
        """The tensors that are sent of an activation, before each is changed: one that holds parameters of a
        distribution is drawn from. As they are, unless the defense draws.
        """
        return tuple(tensors)

    def sent(self, of: Sequence[T]) -> tuple[T, ...]:
        """Of what belongs to each tensor of an activation (dtypes, specs), that of the tensors that `draw` gives."""
        return tuple(of)

    def completed(self, received: Sequence[Tensor], dtypes: Sequence[torch.dtype]) -> tuple[Tensor, ...]:
        """The tensors that the cloud half takes, given those that `draw` gave."""
        return tuple(received)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the defenses that it is made of, in the order in which they act."""
        return (self.name,)

    def misfit(self, cut: Cut) -> str:
        """Why it cannot be used at a cut, in half a sentence; empty where it can."""
        return ""

    def wire_bytes(self, cut: Cut) -> int:
        """Bytes of the tensors that are sent for one sample."""
        return cut.bytes

    def message_bytes(self, cut: Cut) -> int:
        """Bytes of the message that carries them, header included; each is of its activation's rank."""
        ranks = [
            1 + len(t.shape)
            for t in self.sent(cut.tensors)
            for _ in (self.wire_roles if t.is_floating else ("values",))
        ]
        return self.wire_bytes(cut) + overhead(ranks)

    def wire_step(self, z: Tensor) -> float:
        """Rounding step of what is sent, in units of `z`; its square over 12 is the wire's own noise variance."""
        from advisor.defenses.payload.rounding import rounding_step

        return rounding_step(z)

    # ---- what the search asks ------------------------------------------------------------------------------------

    @classmethod
    def at(cls, facts: CutFacts, **values: Any) -> Self | None:
        """The member with the chosen values at one cut; None where it cannot be set up there."""
        return cls(**values)

    @classmethod
    def initial_trials(cls, facts: CutFacts) -> tuple[dict[str, Any], ...]:
        """Values that are worth trying first at one cut; without a space, the one member there is."""
        return () if cls.space else ({},)

    @classmethod
    def values_for_noise(cls, facts: CutFacts, sigma: float) -> dict[str, float] | None:
        """The values at which it adds noise of standard deviation `sigma`; None: it has no such dial."""
        return None

    def strengthen(self) -> Self | None:
        """The same, hiding more; None: it has no dial to turn."""
        return None

    @property
    def noise(self) -> float:
        """Standard deviation of the noise that it was set to add, in units of the activation; 0: none was set."""
        return 0.0

    @property
    def guaranteed_variance(self) -> float:
        """Variance of the Gaussian noise that a bound on any attacker's error may rest on; 0: there is none."""
        return 0.0

    def averaged(self, repeats: int) -> Self | None:
        """The member after which one transmission has the law of the mean of so many; None: none is known to."""
        return self if repeats == 1 else None

    def noise_equivalent(self, tensors: Sequence[Tensor]) -> float | None:
        """The noise as which a noise curve may price it, a standard deviation in units of the activation.

        None: it is no noise, and its leakage is measured on what is sent.
        """
        return None

    # ---- as data -------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Any]:
        """The numbers that define this member, by name; plain JSON values."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def of_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The inverse of `parameters`.

        Raises:
            ValueError: on a number that is not finite.
            TypeError: on a parameter that the member does not have.
        """
        if not all(math.isfinite(value) for value in parameters.values() if isinstance(value, int | float)):
            raise ValueError(f"a parameter of {cls.name} is no finite number")
        return cls(**parameters)

    @property
    def spec(self) -> str:
        """The text that makes this member again: `gaussian:sigma=0.5`."""
        inside = ",".join(f"{key}={value!r}" for key, value in self.parameters.items())
        return f"{self.name}:{inside}" if inside else self.name

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value:.4g}" for key, value in self.parameters.items())
        return f"{self.name}({inside})" if inside else self.name
