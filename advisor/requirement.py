"""Requirement: one thing that can be asked of a plan, as a row of the table in `requirements`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from advisor.errors import AdvisorError
from advisor.estimate import NORMAL_90

if TYPE_CHECKING:
    from advisor.estimate import Estimate

Sense = Literal["at most", "at least"]


@dataclass(frozen=True)
class Requirement:
    """One thing that can be asked of a plan.

    Attributes:
        name: keyword of `recommend`; the option is made of it.
        quantity: what is limited, by the name that an attack's result and `--objective` use.
        measurement: entry of `Plan.predicted` that holds it.
        sense: whether the limit is the most or the least that is allowed.
        unit: SI unit of the limit; "1" for a ratio.
        parse: reads a limit from text or a number; refuses what is none.
        show: writes a value with its unit.
        label: what people call it.
        help: one line for the command line, with an example.
        cautious: whether the unfavourable end of the 90 % interval must keep the limit, instead of the value.
        leakage: whether it limits what an attacker learns; where none such is asked, the zone's thresholds count.
        on_front: whether the Pareto front always weighs it.
        worst: what the search takes for a value that was not measured.
        function: of a plan, where the quantity is computed by the user's own code; its number is the value.
    """

    name: str
    quantity: str
    measurement: str
    sense: Sense
    unit: str
    parse: Callable[[Any], float]
    show: Callable[[float], str]
    label: str
    help: str
    cautious: bool = False
    leakage: bool = False
    on_front: bool = False
    worst: float = math.inf
    function: Callable[[Any], float] | None = None

    @property
    def option(self) -> str:
        """`--max-latency` of `max_latency`."""
        return "--" + self.name.replace("_", "-")

    @property
    def minimised(self) -> bool:
        """Whether less is better."""
        return self.sense == "at most"

    def limit(self, value: Any, said_as: str = "") -> float:
        """A limit from text or a number, in `unit`.

        Raises:
            AdvisorError: on what is negative, NaN, of another unit or out of range; the message names what was set.
        """
        try:
            return self.parse(value)
        except AdvisorError as error:
            raise AdvisorError(f"{said_as or self.name}: {error.problem}", error.next_step) from None

    def worse(self, one: float, other: float) -> bool:
        """Whether `one` is worse than `other`."""
        return one > other if self.minimised else one < other

    def judged(self, found: Estimate, confidence: float | None = None) -> float:
        """The number that is held against a limit; NaN where it is not known.

        Args:
            found: what was found.
            confidence: of the interval whose unfavourable end counts; None: that of 90 % where the row is cautious,
                else the value.
        """
        if confidence is not None:
            return self.unfavourable(found, confidence)
        return self.unfavourable(found) if self.cautious else found.value

    def unfavourable(self, found: Estimate, confidence: float = 0.9) -> float:
        """The unfavourable end of an interval of this confidence; NaN where it is not known.

        Each side of the 90 % interval is stretched as a normal one would be.
        """
        end = found.high if self.minimised else found.low
        if confidence == 0.9 or found.value == end:
            return end
        return found.value + (end - found.value) * NormalDist().inv_cdf((1 + confidence) / 2) / NORMAL_90

    def missed_by(self, found: Estimate | None, limit: float, confidence: float | None = None) -> float:
        """How far a limit is missed, in `unit`: 0 where it is met, NaN where that could not be measured."""
        if found is None:
            return math.nan
        value = self.judged(found, confidence)
        over = value - limit if self.minimised else limit - value
        return 0.0 if over <= 0 else over

    def typed(self, limit: float, digits: int = 12) -> str:
        """A limit as one types it: `0.05s`, `0.02`."""
        return f"{limit:.{digits}g}{'s' if self.unit == 's' else ''}"

    def asks(self, limit: float) -> str:
        """`at most 50 ms`."""
        return f"{self.sense} {self.show(limit)}"
