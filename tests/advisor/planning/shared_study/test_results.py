"""Results by digest: computed once, whoever asks, and again only where the worker that computed died."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from advisor.errors import AdvisorError
from advisor.planning.shared_study import results as module
from advisor.planning.shared_study.results import RESULT, WORKER, Results, Task, digest_of
from advisor.planning.shared_study.study_storage import known_trials, open_storage
from advisor.planning.shared_study.worker import is_gone, this_worker

KINDS = ("memory", "sqlite", "journal")


def storage_at(kind: str, folder: Path) -> str | None:
    return {"memory": None, "sqlite": f"sqlite:///{folder / 's.db'}", "journal": str(folder / "s.journal")}[kind]


def task(number: int, done: list[int] | None = None, wait: float = 0.0) -> Task:
    def compute() -> dict[str, float]:
        time.sleep(wait)
        if done is not None:
            done.append(number)
        return {"value": number / 3}

    return Task("evaluation", digest_of("task", number), compute)


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_computed_once_in_a_run(kind: str, tmp_path: Path) -> None:
    results, done = Results(open_storage(storage_at(kind, tmp_path))), list[int]()
    wanted = [task(number, done) for number in (3, 1, 3, 2, 1)]
    assert results.all(wanted) == [{"value": number / 3} for number in (3, 1, 3, 2, 1)]
    assert results.one(wanted[0]) == {"value": 1.0}
    assert done == [3, 1, 2]
    assert results.computed == {"evaluation": 3}


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_result_is_taken_from_the_storage_bit_for_bit(kind: str, tmp_path: Path) -> None:
    for run in range(2):
        results, done = Results(open_storage(storage_at(kind, tmp_path))), list[int]()
        assert results.all([task(1, done), task(7, done)]) == [{"value": 1 / 3}, {"value": 7 / 3}]
        assert done == ([] if run else [1, 7])


def test_workers_at_once_share_the_tasks_and_agree(tmp_path: Path) -> None:
    url, done, found = f"sqlite:///{tmp_path / 's.db'}", list[int](), list[list[object]]()
    open_storage(url)

    def work() -> None:
        own = Results(open_storage(url))
        found.append(own.all([task(number, done, 0.05) for number in range(8)]))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(done) == list(range(8))
    assert found == [[{"value": number / 3} for number in range(8)]] * 3


DIE = """
import os, sys
from advisor.planning.shared_study.results import Results, Task, digest_of
from advisor.planning.shared_study.study_storage import open_storage
def die():
    os.kill(os.getpid(), 9)
Results(open_storage(sys.argv[1])).one(Task("evaluation", digest_of("task", 1), die))
"""


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_the_trial_of_a_worker_that_was_killed_is_run_again_at_once(kind: str, tmp_path: Path) -> None:
    url = storage_at(kind, tmp_path)
    assert url is not None
    assert subprocess.run([sys.executable, "-c", DIE, url], check=False).returncode == -9
    started, done = time.monotonic(), list[int]()
    storage = open_storage(url)
    assert Results(storage).one(task(1, done)) == {"value": 1 / 3}
    assert done == [1]
    assert time.monotonic() - started < 15  # a journal's lock is let go of after a while
    states = [trial.state.name for trial in optuna.load_study(study_name=task(1).study, storage=storage).trials]
    assert states == ["FAIL", "COMPLETE"]


def test_the_trial_of_a_worker_on_another_machine_is_waited_for_and_freed_by_its_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advisor.planning.shared_study.study_storage.HEARTBEAT", 1)
    monkeypatch.setattr("advisor.planning.shared_study.study_storage.GRACE", 2)
    url = f"sqlite:///{tmp_path / 's.db'}"
    study = optuna.create_study(storage=open_storage(url), study_name=task(1).study)
    trial = study.ask()
    trial.set_user_attr(WORKER, "elsewhere:1:2")
    study._storage.record_heartbeat(trial._trial_id)  # its last sign of life
    started, done = time.monotonic(), list[int]()
    assert Results(open_storage(url)).one(task(1, done)) == {"value": 1 / 3}
    assert time.monotonic() - started > 1
    assert done == [1]


def test_a_claim_whose_worker_died_before_it_began_is_free_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNSIGNED", 0.5)
    url, done = f"sqlite:///{tmp_path / 's.db'}", list[int]()
    optuna.create_study(storage=open_storage(url), study_name=task(1).study)
    optuna.create_study(storage=open_storage(url), study_name=task(2).study).ask()
    assert Results(open_storage(url)).all([task(1, done), task(2, done)]) == [{"value": 1 / 3}, {"value": 2 / 3}]
    assert done == [1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, AdvisorError, OSError])
def test_what_goes_wrong_in_a_task_is_raised_and_leaves_it_free(error: type[BaseException], tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")

    def fails() -> None:
        raise error("told")

    with pytest.raises(error, match="told"):
        Results(storage).one(Task("evaluation", digest_of("task", 1), fails))
    started = time.monotonic()
    assert Results(storage).one(task(1)) == {"value": 1 / 3}
    assert time.monotonic() - started < 2


def test_nothing_is_begun_or_waited_for_after_the_time() -> None:
    done: list[int] = []
    assert Results().all([task(1, done), task(2, done)], until=time.monotonic()) == [None, None]
    assert not done
    half = Results().all([task(1, done, 0.2), task(2, done)], until=time.monotonic() + 0.1)
    assert half == [{"value": 1 / 3}, None]


def test_a_storage_that_is_lost_half_way_is_said_and_the_run_goes_on_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, done = open_storage(f"sqlite:///{tmp_path / 's.db'}"), list[int]()
    results = Results(storage)
    results.one(task(1, done))

    def gone(*given: object, **named: object) -> None:
        raise OperationalError("select", {}, Exception("connection to postgresql://me:secret@host/db refused"))

    monkeypatch.setattr(optuna, "create_study", gone)
    assert results.all([task(1, done), task(2, done)]) == [{"value": 1 / 3}, {"value": 2 / 3}]
    assert done == [1, 2]
    assert "The storage was lost" in results.notes[0]
    assert "the run went on alone" in results.notes[0]
    assert "secret" not in results.notes[0]


def test_a_storage_that_is_lost_while_a_result_is_written_does_not_lose_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, done = open_storage(f"sqlite:///{tmp_path / 's.db'}"), list[int]()
    write = optuna.trial.Trial.set_user_attr

    def gone(self: optuna.trial.Trial, key: str, value: object) -> None:
        if key == RESULT:
            raise optuna.exceptions.StorageInternalError("the server closed the connection")
        write(self, key, value)

    monkeypatch.setattr(optuna.trial.Trial, "set_user_attr", gone)
    results = Results(storage)
    assert results.one(task(1, done)) == {"value": 1 / 3}
    assert done == [1]
    assert results.notes


def test_another_worker_is_told_from_one_that_is_gone() -> None:
    place, _, start = this_worker().split(":")
    assert not is_gone(this_worker())
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
        assert is_gone(f"{place}:{process.pid}:1")
    assert is_gone(f"{place}:{os.getpid()}:{int(start) + 1}")  # the number was given to another
    for strange in (None, 3, "", "a:b:c", f"{place}:-1:0", f"{place}:{'9' * 40}:0", f"elsewhere:{os.getpid()}:0"):
        assert not is_gone(strange)


def test_no_name_of_a_machine_or_user_is_in_the_storage(tmp_path: Path) -> None:
    import getpass
    import platform

    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")
    Results(storage).one(task(1))
    kept = known_trials(optuna.load_study(study_name=task(1).study, storage=storage))[0].user_attrs[WORKER]
    assert platform.node() not in kept
    assert getpass.getuser() not in kept
