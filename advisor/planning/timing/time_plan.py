"""How long a run will take, stage by stage, told before it starts; and what is left out for it to keep to its time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from advisor.computing.chosen_device import said as compute_said
from advisor.estimators.study.few_attacks import Allowance
from advisor.planning.shared_study.results import Results, Task, digest_of, strange
from advisor.units import show_duration

LATE = 1.25
"""A stage may overrun what was planned for it by this factor before it is cut short."""

LEFT_OUT = ("cuts_attacked", "accuracy_samples", "trials")
"""What a run may leave out, as an advice records it."""


@dataclass(frozen=True)
class TimePlan:
    """What a run may do, and how long it is said to take.

    Attributes:
        told: seconds by stage.
        allowed: seconds in all; infinity where nothing bounds it.
        attacks: cuts that the leakage study attacks; None for all.
        rows: samples that accuracy is measured on; None for the usual number.
        trials: defended plans that are priced; None for what was asked.
        started: `time.monotonic()` at the run's start.
        deadline: seconds after which nothing new begins, as the user said; infinity where they did not.
        size: pixels a side at which the chosen plan is attacked once more where no size was asked for; None: it is not.
        of_size: what is said of the size of reconstructions; "" where the inputs are no larger images.
    """

    told: dict[str, float] = field(default_factory=dict)
    allowed: float = math.inf
    attacks: int | None = None
    rows: int | None = None
    trials: int | None = None
    started: float = 0.0
    deadline: float = math.inf
    size: int | None = None
    of_size: str = ""

    @property
    def reduced(self) -> bool:
        """Whether anything is left out."""
        return self.attacks is not None or self.rows is not None or self.trials is not None

    def until(self, stage: str) -> float:
        """`time.monotonic()` after which a stage begins nothing new; infinity where its end was not planned."""
        names = list(self.told)
        planned = math.inf
        if self.reduced and stage in names:
            planned = LATE * sum(self.told[name] for name in names[: names.index(stage) + 1])
        return self.started + min(planned, self.deadline)

    @property
    def allowance(self) -> Allowance:
        """For the leakage study; without limits where the plan has none."""
        roomy = self.attacks is None and sum(self.told.values()) < self.deadline / 2
        return Allowance(self.attacks, math.inf if roomy else self.until("leakage"), self.started + self.deadline)

    def sentence(self, effort: str, cuts: int) -> str:
        """What is told before the run starts."""
        fits = self.told.get("fit", 0.0)  # the time that they are given: they end when they get no better
        reckoned = {name: seconds for name, seconds in self.told.items() if name != "fit"}
        parts = ", ".join(f"{name} {show_duration(seconds)}" for name, seconds in reckoned.items() if seconds >= 0.5)
        said = f"On {compute_said()} this will take about {show_duration(sum(reckoned.values()))} ({parts})"
        said += f" and fits of {show_duration(fits)} at most" if fits else ""
        left = [
            f"{self.attacks} of {cuts} cuts are attacked, their neighbours bracket the rest" if self.attacks else "",
            f"accuracy is measured on {self.rows:,} samples" if self.rows else "",
            f"{self.trials} defended plans are tried" if self.trials else "",
        ]
        kept = "; ".join(part for part in left if part)
        aim = "to keep to" if sum(self.told.values()) <= self.allowed else "to come near to"
        said = f"{said}; {aim} {show_duration(self.allowed)} ({effort}) {kept}." if kept else f"{said}."
        return f"{said} {self.of_size}".rstrip()

    def agreed(self, results: Results, study: str) -> TimePlan:
        """The same with what the first worker of a study left out: one answer needs one plan.

        Raises:
            AdvisorError: where the storage holds what is no plan.
        """
        task = Task("time", digest_of(study), lambda: {**self.to_json(), "size": self.size})
        found = results.one(task)
        kept = [found.get(name) if isinstance(found, dict) else 0 for name in (*LEFT_OUT, "size")]
        if any(value is not None and not (type(value) is int and value > 0) for value in kept):
            raise strange(task, ValueError("it is no plan of a run's time"))
        return replace(self, attacks=kept[0], rows=kept[1], trials=kept[2], size=kept[3])

    def to_json(self) -> dict[str, Any]:
        """What was left out, as an advice records it; empty where nothing was."""
        left = zip(LEFT_OUT, (self.attacks, self.rows, self.trials), strict=True)
        return {name: value for name, value in left if value is not None}


UNBOUNDED = TimePlan()
