"""Results by digest: computed once, in this run, and over a storage by whichever worker comes first.

Over a storage a result is claimed by making a study of its name, which fails the second time; the study's one trial has
the heartbeat of who computes it, and the result as an attribute. Where that worker dies, another runs the trial again.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState

from advisor.errors import AdvisorError
from advisor.planning.shared_study.study_storage import LOST, known_trials, quiet, understood
from advisor.planning.shared_study.worker import is_gone, this_worker
from advisor.support.safe_text import without_secrets

PAUSE = 0.2
"""Seconds between two looks at what others compute."""

UNSIGNED = 5.0
"""Seconds after which a claim is free whose worker died before it signed it."""

NAME = "advisor"
RESULT, WORKER = "result", "worker"


@dataclass(frozen=True)
class Task:
    """Something to be computed once.

    Attributes:
        kind: "evaluation", "attack", "fit", "round", …
        digest: of all that the result hangs on.
        compute: makes the result, plain JSON values.
    """

    kind: str
    digest: str
    compute: Callable[[], Any] = field(compare=False)

    @property
    def study(self) -> str:
        """Name of the study by which it is claimed."""
        return f"{NAME}-{self.kind}-{self.digest[:32]}"


def digest_of(*told: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


class Results:
    """What was computed, and what others computed on the same storage.

    Attributes:
        storage: None: this process alone.
        computed: how many of each kind this process computed.
        held: things that results stand for, which no JSON holds; of this process alone.
        lost: why the storage cannot be used any more; "" while it can. The run then goes on alone.
    """

    def __init__(self, storage: BaseStorage | None = None) -> None:
        self.storage, self.computed, self.lost = storage, Counter[str](), ""
        self._known: dict[str, Any] = {}
        self.held: dict[str, Any] = {}
        self._unsigned: dict[str, float] = {}

    @property
    def shared(self) -> bool:
        """Whether others can see the results."""
        return self.storage is not None and not self.lost

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be said in the answer."""
        return (self.lost,) if self.lost else ()

    def one(self, task: Task) -> Any:
        """The result of one task."""
        return self.all([task])[0]

    def all(
        self, tasks: Sequence[Task], until: float = math.inf, told: Callable[[Task], None] | None = None
    ) -> list[Any]:
        """The results in the order of the tasks, each computed here or by another worker.

        Args:
            tasks: what is wanted.
            until: `time.monotonic()` after which nothing is begun or waited for: None stands for what is missing.
            told: called after each that was computed here.
        """
        waiting = {task.digest: task for task in tasks if task.digest not in self._known}
        while waiting and time.monotonic() < until:
            before = len(waiting)
            for task in list(waiting.values()):
                if time.monotonic() >= until:
                    break
                count = self.computed.total()
                if self._settled(task):
                    del waiting[task.digest]
                if told and self.computed.total() > count:
                    told(task)
            if len(waiting) == before:
                time.sleep(PAUSE)
        return [self._known.get(task.digest) for task in tasks]

    def knows(self, task: Task) -> bool:
        """Whether the result is at hand."""
        return task.digest in self._known

    def guarded(self, act: Callable[[BaseStorage], None]) -> None:
        """Do something with the storage, where there is one; if it is lost meanwhile, that is said in the answer."""
        if self.storage is None or self.lost:
            return
        try:
            with quiet(), understood("of the study"):
                act(self.storage)
        except LOST as error:
            self._lose(error)

    # ---- one task ------------------------------------------------------------------------------------------------

    def _settled(self, task: Task) -> bool:
        """Whether the result is known now: taken, or computed here; False where another worker is at it."""
        if self.storage is not None and not self.lost:
            try:
                with quiet(), understood("of the study"):
                    return self._claimed(self.storage, task)
            except LOST as error:
                self._lose(error)
        if task.digest not in self._known:
            self._keep(task, task.compute())
        return True

    def _claimed(self, storage: BaseStorage, task: Task) -> bool:
        try:
            study = optuna.create_study(storage=storage, study_name=task.study)
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(storage=storage, study_name=task.study)
            if self._taken(study, task):
                return True
            if self._held(study):
                return False
        return self._computed(study, task)

    def _taken(self, study: Study, task: Task) -> bool:
        done = [t for t in known_trials(study) if t.state is TrialState.COMPLETE and RESULT in t.user_attrs]
        if done:
            self._known[task.digest] = done[0].user_attrs[RESULT]
        return bool(done)

    def _held(self, study: Study) -> bool:
        """Whether a worker that lives is at it."""
        optuna.storages.fail_stale_trials(study)
        trials = known_trials(study)
        running = [trial for trial in trials if trial.state is TrialState.RUNNING]
        for trial in running:
            if is_gone(trial.user_attrs.get(WORKER)) or (WORKER not in trial.user_attrs and self._waited(study)):
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                running = [other for other in running if other.number != trial.number]
        return bool(running) or (not trials and not self._waited(study))

    def _waited(self, study: Study) -> bool:
        """Whether an unsigned claim has been there for long."""
        since = self._unsigned.setdefault(study.study_name, time.monotonic())
        return time.monotonic() - since > UNSIGNED

    def _computed(self, study: Study, task: Task) -> bool:
        """Whether the trial became ours, and the result is known now."""
        raised: list[BaseException] = []

        def objective(trial: Trial) -> float:
            others = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
            if any(other.number < trial.number for other in others):
                raise optuna.TrialPruned  # another was first
            trial.set_user_attr(WORKER, this_worker())
            try:
                self._keep(task, task.compute())
            except BaseException as error:  # noqa: BLE001 - Ctrl-C too leaves no trial that seems to run
                raised.append(error)
                raise optuna.TrialPruned from None
            trial.set_user_attr(RESULT, self._known[task.digest])
            return 0.0

        try:
            study.optimize(objective, n_trials=1)
        except optuna.exceptions.UpdateFinishedTrialError:
            pass  # we were taken for dead: another has the trial, and both have the result
        except UnboundLocalError as error:  # Optuna's own, where the storage went away while it told a trial
            raise optuna.exceptions.StorageInternalError("it did not take a result") from error
        except ValueError as error:
            if "Cannot tell" not in str(error):  # likewise
                raise
        finally:
            if raised:
                raise raised[0]
        return task.digest in self._known

    def _keep(self, task: Task, result: Any) -> None:
        self._known[task.digest] = result
        self.computed[task.kind] += 1

    def _lose(self, error: Exception) -> None:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        self.lost = (
            f"The storage was lost ({without_secrets(line[:160])}): what was found so far was kept, and the run went "
            "on alone."
        )


def strange(task: Task, error: Exception) -> AdvisorError:
    """A result that we could not have written."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return AdvisorError(
        f"The storage's {task.kind} {task.digest[:12]} is not one of advisor: {line[:160]}.", "Name another --storage."
    )
