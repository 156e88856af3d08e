"""How long fits take with the attacks that price them, from what will be fitted and the speed of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from advisor.cuts import Cut

FIT_SECONDS = {"quick": 240.0, "standard": 900.0, "thorough": 5400.0}
"""Of all fits of one recommendation with the attacks that price them, by effort; `--timeout` shortens it."""

STEP_FORWARDS = 3.0
"""A step of a fit costs as much as so many forward passes of what it trains: forward, backward, and the rest."""


@dataclass(frozen=True)
class WantedFit:
    """One method at one cut.

    Attributes:
        payload: what would be sent, as a cut of it.
        batch: samples a step.
        short, whole: steps of a short fit, and of one to its end.
    """

    payload: Cut
    batch: int
    short: int
    whole: int


@dataclass(frozen=True)
class WantedFits:
    """What a recommendation fits at most: which cuts the budgets allow is not known before their costs are.

    Attributes:
        fits: every method at each of the few cuts; at least one.
        finalists: of them that are fitted to the end.
        levels: of noise that a finished fit is attacked at.
        most: seconds after which the rest is not fitted.
    """

    fits: tuple[WantedFit, ...]
    finalists: int
    levels: int
    most: float

    def seconds(self, forward: float, attack: Callable[[Cut], float]) -> float:
        """Of all, at most.

        Args:
            forward: seconds of one sample through the whole model.
            attack: seconds of the quick attack on a payload.
        """
        sample = STEP_FORWARDS * forward
        longest = sorted(fit.whole * fit.batch * sample + (self.levels + 1) * attack(fit.payload) for fit in self.fits)
        whole = sum(longest[-self.finalists :])
        if len(self.fits) == 1:
            return min(self.most, whole)
        return min(self.most, whole + sum(f.short * f.batch * sample + attack(f.payload) for f in self.fits))

    def payload(self, attack: Callable[[Cut], float]) -> Cut:
        """The one that an attack takes as long on as on the middle one."""
        return sorted((fit.payload for fit in self.fits), key=attack)[len(self.fits) // 2]
