"""Additive Gaussian noise on the activation (Maeng et al. 2022, section 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from advisor.defenses.payload.base import Defense
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class GaussianNoise(Defense):
    """Adds N(0, sigma²) to each element; fresh noise for each call.

    Attributes:
        sigma: standard deviation, in units of the activation.
        dfil: the diagonal Fisher information leakage this noise was set for; 0 when set by sigma.
    """

    sigma: float
    dfil: float = 0.0
    name: ClassVar[str] = "gaussian"
    search_space: ClassVar[Mapping[str, tuple[float, float]]] = {"dfil": (0.1, 1000.0)}

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise AdvisorError(f"Gaussian noise of {name}={value!r} makes no sense.", "Pass a number, 0 or more.")

    def apply(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """`z` plus noise, in `z`'s dtype."""
        import torch

        if generator is None:
            noise = torch.randn_like(z)
        else:
            noise = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)
        return z + self.sigma * noise

    @classmethod
    def for_dfil(cls, fisher: float, dfil: float) -> GaussianNoise:
        """The noise that gives a wanted dFIL: sigma = sqrt(Tr(JᵀJ) / (d · dFIL)).

        Args:
            fisher: Tr(JᵀJ)/d at the cut.
            dfil: wanted Tr(I)/d, 1 / (squared input units); 1/dfil bounds an unbiased attacker's per-element MSE.

        Raises:
            AdvisorError: when `dfil` is no positive number, or `fisher` was not measured.
        """
        if not dfil > 0:
            raise AdvisorError(f"A dFIL of {dfil!r} cannot be reached by noise.", "Pass a positive number.")
        if not 0 <= fisher < math.inf:
            raise AdvisorError("The Fisher information was not measured at this cut.", "Set the noise by its sigma.")
        return cls(math.sqrt(fisher / dfil), dfil)
