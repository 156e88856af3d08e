"""Additive Gaussian noise on the activation (Maeng et al. 2022, section 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from advisor.defenses.payload.base import CutFacts, Defense, Need, Stage
from advisor.defenses.payload.space import Float
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from advisor.defenses.payload.space import Distribution

STRENGTHENED = 1.35
"""Factor on sigma where an attack found more than was predicted."""


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
    paper: ClassVar[str] = "Maeng et al. 2022, section 4"
    stage: ClassVar[Stage] = "noise"
    space: ClassVar[Mapping[str, Distribution]] = {"dfil": Float(0.1, 1000.0, log=True)}
    needs: ClassVar[frozenset[Need]] = frozenset({"fisher"})
    random: ClassVar[bool] = True
    broken_by: ClassVar[tuple[str, ...]] = ("ka", "wiener")

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

    def __str__(self) -> str:
        """Without a dFIL that it was not set for: 0 would say that nothing leaks."""
        return super().__str__() if self.dfil else f"{self.name}(sigma={self.sigma:.4g})"

    @classmethod
    def for_dfil(cls, fisher: float, dfil: float) -> Self:
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

    @classmethod
    def at(cls, facts: CutFacts, **values: Any) -> Self | None:
        """Noise for the chosen dFIL; None where the Fisher information was not measured."""
        return None if math.isnan(facts.fisher) else cls.for_dfil(facts.fisher, values["dfil"])

    @classmethod
    def values_for_noise(cls, facts: CutFacts, sigma: float) -> dict[str, float] | None:
        """The dFIL of noise of this standard deviation; infinite without noise."""
        return {"dfil": facts.fisher / sigma**2 if sigma > 0 else math.inf}

    def strengthen(self) -> Self | None:
        """Noise of `STRENGTHENED` times the standard deviation."""
        return type(self)(self.sigma * STRENGTHENED, self.dfil / STRENGTHENED**2)

    @property
    def noise(self) -> float:
        """Sigma."""
        return self.sigma

    @property
    def guaranteed_variance(self) -> float:
        """Sigma²."""
        return self.sigma**2

    def averaged(self, repeats: int) -> Self | None:
        """Independent noise of variance sigma² averages to sigma²/m."""
        return type(self)(self.sigma / math.sqrt(repeats), self.dfil)

    def noise_equivalent(self, tensors: Sequence[Tensor]) -> float | None:
        """Sigma."""
        return self.sigma
