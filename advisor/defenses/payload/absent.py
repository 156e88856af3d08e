"""A recorded defense whose code is not installed here: it is shown as it was recorded, and runs nowhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from advisor.defenses.payload.base import Defense
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from advisor.cuts import Cut

_NAME = re.compile(r"[A-Za-z_][\w.:-]{0,99}", re.ASCII)
"""Of an entry point, or a dotted path."""


@dataclass(frozen=True)
class AbsentDefense(Defense):
    """What an advice records of a defense of the user's own, or of a chain that holds one.

    Attributes:
        name: as recorded.
        recorded: its parameters, plain JSON values.
        missing: names of the members whose code is not here.
        shown: what the defense itself would be called with its parameters.
    """

    name: str  # type: ignore[misc]  # of the member that is not here
    recorded: Mapping[str, Any]
    missing: tuple[str, ...]
    shown: str
    exportable = False

    def _refused(self) -> NoReturn:
        names = ", ".join(self.missing)
        raise AdvisorError(
            f"The defense {names} is not installed here: its plans can be shown, not run.",
            "Install the distribution that brings it, or choose another plan.",
        )

    def apply(self, z: Tensor, generator: Generator | None = None) -> NoReturn:
        """Refused: its code is not here."""
        self._refused()

    def restore(self, wire: Any) -> NoReturn:
        """As `apply`."""
        self._refused()

    def misfit(self, cut: Cut) -> NoReturn:
        """As `apply`: no payload is made of it."""
        self._refused()

    def wire_bytes(self, cut: Cut) -> NoReturn:
        """As `apply`."""
        self._refused()

    def noise_equivalent(self, tensors: Sequence[Tensor]) -> NoReturn:
        """As `apply`."""
        self._refused()

    @property
    def parameters(self) -> dict[str, Any]:
        """As recorded."""
        return dict(self.recorded)

    def __str__(self) -> str:
        return self.shown

    def __hash__(self) -> int:
        return hash((self.name, self.shown))


def may_be_one(name: object, parameters: object) -> bool:
    """Whether a record has the form of a user's own defense: a name, and finite numbers or short texts."""
    if not isinstance(name, str) or not isinstance(parameters, dict) or not _NAME.fullmatch(name):
        return False
    return all(_NAME.fullmatch(str(key)) and _plain(value) for key, value in parameters.items())


def shown(name: str, parameters: Mapping[str, Any]) -> str:
    """`mine:Own(factor=0.5)`, as a defense writes itself."""
    written = {key: value if isinstance(value, str) else f"{value:.4g}" for key, value in parameters.items()}
    inside = ", ".join(f"{key}={value}" for key, value in written.items())
    return f"{name}({inside})" if inside else name


def _plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= 100 and value.isprintable()
    return isinstance(value, int | float) and math.isfinite(value)
