"""What each stage of a recommendation found: frozen, with what it assumed and how long it took.

`Request → Inputs → Traced → Prepared → Measured → Searched → Verified → Advice`: each holds the one before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from advisor.advice import Advice, Gallery
from advisor.columns import Profile
from advisor.data.images.image_folder import ImageFolder
from advisor.data.roles import Roles
from advisor.data.samples import Samples
from advisor.errors import InterruptedRunError
from advisor.graph import PartitionGraph
from advisor.loading import LoadedModel
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.timing.time_plan import UNBOUNDED, TimePlan
from advisor.plans import Plan
from advisor.progress import RunListener, of_stage
from advisor.support.memory_limit import give_back


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """What every stage says.

    Attributes:
        notes: what was assumed, one sentence each.
        seconds: wall time of each of its steps.
    """

    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def chain(self) -> tuple[Stage, ...]:
        """All stages up to this one, the first one first."""
        return (self,)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """What was assumed up to here, each sentence once."""
        return tuple(dict.fromkeys(note for stage in self.chain for note in stage.notes))

    @property
    def all_seconds(self) -> dict[str, float]:
        """Wall time of each step up to here."""
        return {name: seconds for stage in self.chain for name, seconds in stage.seconds.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs(Stage):
    """The model and the data as they are.

    Attributes:
        loaded: the model and what its file says.
        data: the samples as their source has them; None where they are to be made, and once they were divided.
        train_data, aux: likewise those to train a defense on, and the attacker's; None where `data` is divided.
        example: inputs to trace with, as the caller gave them; None where file, data or layers tell.
        earlier: advice whose measurements are taken where they still apply, or None.
    """

    loaded: LoadedModel
    data: Samples | ImageFolder | None
    train_data: Samples | ImageFolder | None = None
    aux: Samples | ImageFolder | None = None
    example: Any = None
    earlier: Advice | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Traced(Stage):
    """The graph, normalisation inserted."""

    inputs: Inputs
    graph: PartitionGraph

    @property
    def chain(self) -> tuple[Stage, ...]:
        """All stages up to this one."""
        return (*self.inputs.chain, self)


@dataclass(frozen=True)
class Source:
    """Where samples came from; none of them.

    Attributes:
        description, fingerprint: as `Samples` has them.
        count: of the samples.
        labelled: whether they have labels.
        sha256: of the files of `data`, `train_data` and `aux`; None for a folder, a built-in name, what is in memory.
    """

    description: str
    fingerprint: str
    count: int
    labelled: bool
    sha256: Mapping[str, str | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared(Stage):
    """Samples as the model takes them, by role, and the graph that knows what its output means.

    Attributes:
        traced: the stage before, without the data as they were: each role has its own, and there is no room for both.
        graph: with its task.
        source: what an answer says of the samples of `--data`, or of synthetic ones.
        roles: who has which of them; `training` only where a defense is trained or `--train-data` is given.
    """

    traced: Traced
    graph: PartitionGraph
    source: Source
    roles: Roles

    @property
    def inputs(self) -> Inputs:
        """The model and the data as they were."""
        return self.traced.inputs

    @property
    def chain(self) -> tuple[Stage, ...]:
        """All stages up to this one."""
        return (*self.traced.chain, self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured(Stage):
    """What every cut costs and leaks.

    Attributes:
        prepared: the stage before.
        cost: the cost columns.
        evaluator: prices plans from cost, leakage and the model itself.
        before: earlier advice about the same graph, samples and seed, or None.
        gallery: its pictures, where its leakage was taken; else None.
        time: how long the run may take, and what it leaves out for that.
        study: name of the study on a storage; "" in memory.
    """

    prepared: Prepared
    cost: Profile
    evaluator: PlanEvaluator
    before: Advice | None = None
    gallery: Gallery | None = None
    time: TimePlan = UNBOUNDED
    study: str = ""

    @property
    def chain(self) -> tuple[Stage, ...]:
        """All stages up to this one."""
        return (*self.prepared.chain, self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Searched(Stage):
    """Every plan that was priced.

    Attributes:
        measured: the stage before.
        plans: each with how far it misses what was asked.
        limits: the leakage that was held against them.
        heads: small models that answer on the edge alone, fitted beside trained defenses: what a split has to beat.
        interrupted: "search" where the user ended it early, else "".
    """

    measured: Measured
    plans: tuple[Plan, ...]
    limits: LeakageLimits
    heads: tuple[Plan, ...] = ()
    interrupted: str = ""

    @property
    def chain(self) -> tuple[Stage, ...]:
        """All stages up to this one."""
        return (*self.measured.chain, self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Verified(Stage):
    """The plans, those that are shown attacked.

    Attributes:
        searched: the stage before.
        plans: all of them, also stronger ones that an attack made necessary.
        unverified: which attacks failed or were not run, and why: never taken for privacy.
        interrupted: the stage that the user ended early, else "".
        learning: of `samples_needed`; empty where it was not asked for.
    """

    searched: Searched
    plans: tuple[Plan, ...]
    unverified: tuple[str, ...] = ()
    interrupted: str = ""
    learning: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> Measured:
        """What the plans were priced from."""
        return self.searched.measured

    @property
    def chain(self) -> tuple[Stage, ...]:
        """All stages up to this one."""
        return (*self.searched.chain, self)


class Step:
    """A step of a stage under way; called with its share, 0 to 1, and what is being worked on.

    Attributes:
        seconds: its wall time by its name, once it is over.
    """

    def __init__(self, name: str, progress: RunListener | None) -> None:
        self._name, self._progress, self.seconds = name, of_stage(progress, name), dict[str, float]()

    def __call__(self, share: float, what: str = "") -> None:
        """Tell how far it is."""
        self._progress(share, what)

    @contextmanager
    def timed(self) -> Iterator[Step]:
        """Tell its begin and its end, and time what lies between."""
        started = time.perf_counter()
        try:
            self(0.0)
            yield self
            self(1.0)
        finally:
            give_back()
            self.seconds = {self._name: time.perf_counter() - started}


@contextmanager
def step(name: str, progress: RunListener | None, cost: Profile | None = None) -> Iterator[Step]:
    """A step that is timed, before there is anything to recommend.

    Args:
        name: what progress, provenance and an interrupt call it.
        progress: told of it.
        cost: the cost columns, where they are known: they are kept when the user interrupts.

    Raises:
        InterruptedRunError: on Ctrl-C.
    """
    try:
        with Step(name, progress).timed() as now:
            yield now
    except KeyboardInterrupt:
        raise InterruptedRunError(name, cost) from None
