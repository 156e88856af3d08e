"""Several workers and one study: the same answer, nothing computed twice, nothing lost with a worker or a storage."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from advisor.errors import AdvisorError
from advisor.planning.shared_study.study_storage import open_storage
from tests.advisor.planning.shared_study.postgres import Server, running
from tests.advisor.planning.shared_study.shared_search import TRIALS, plain, recommended, samples

WAIT = 300
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as found:
        yield found


def worker(url: str, out: Path, **more: Any) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.advisor.planning.shared_study.shared_search", url, str(out), json.dumps(more)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def computed(out: Path) -> list[str]:
    file = out.with_suffix(".computed")
    return file.read_text().splitlines() if file.exists() else []


def until(found: Any) -> None:
    started = time.monotonic()
    while not found():
        assert time.monotonic() - started < WAIT
        time.sleep(0.05)


def trials_of(url: str) -> list[optuna.trial.FrozenTrial]:
    storage = open_storage(url)
    (name,) = (n for n in optuna.get_all_study_names(storage) if n.count("-") == 1)
    return optuna.load_study(study_name=name, storage=storage).trials


@pytest.mark.slow
def test_three_workers_on_postgresql_one_of_them_killed_answer_as_one_does(server: Server, tmp_path: Path) -> None:
    one = recommended(None)
    outs = [tmp_path / f"{number}.json" for number in range(3)]
    workers = [worker(server.url, out) for out in outs]
    until(lambda: any(computed(out) for out in outs))
    dead = next(number for number, out in enumerate(outs) if computed(out))
    workers[dead].kill()
    told = [run.communicate(timeout=WAIT)[1] for run in workers]
    assert [run.returncode for run in workers] == [-9 if number == dead else 0 for number in range(3)], told
    assert "hidden-word" not in "".join(told)
    answers = [json.loads(out.read_text()) for number, out in enumerate(outs) if number != dead]
    assert answers[0] == answers[1] == plain(one)
    assert "hidden-word" not in json.dumps(answers)
    trials = trials_of(server.url)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state is optuna.trial.TrialState.COMPLETE for trial in trials)
    assert len({json.dumps(t.user_attrs["plan"]["defense"]) + t.params["cut"] for t in trials}) == TRIALS
    done = [line for out in outs for line in computed(out)]
    again = len(done) - len(set(done))
    assert again <= 1  # that of the worker that was killed, and no other, was begun twice


@pytest.mark.slow
def test_a_server_that_goes_away_leaves_the_answer_and_is_said(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "lost.json"
    run = worker(server.url, out, seed=5, pause=0.6)
    until(lambda: len(computed(out)) >= 2)
    server.stop()
    try:
        told = run.communicate(timeout=WAIT)[1]
    finally:
        server.start()
    assert run.returncode == 0, told
    assert "Traceback" not in told
    answer = json.loads(out.read_text())
    said = [line for line in answer["assumptions"] if "storage was lost" in line]
    assert len(said) == 1
    assert "hidden-word" not in json.dumps(answer)
    answer["assumptions"].remove(said[0])
    assert answer == plain(recommended(None, seed=5))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_run_that_is_killed_again_and_again_answers_as_one_that_was_not(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}" if kind == "sqlite" else str(tmp_path / "s.journal")
    outs = [tmp_path / f"{number}.json" for number in range(3)]
    for out in outs[:2]:
        run = worker(url, out)
        until(lambda out=out: computed(out))
        time.sleep(0.2)
        run.kill()
        run.communicate()
    last = worker(url, outs[2])
    told = last.communicate(timeout=WAIT)[1]
    assert last.returncode == 0, told
    assert json.loads(outs[2].read_text()) == plain(recommended(None))
    done = [line for out in outs for line in computed(out)]
    assert len(done) - len(set(done)) <= 2  # at most one trial was lost with each


@pytest.mark.slow
def test_the_same_evaluations_are_not_computed_again_for_another_request(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    for more in ({}, {"max_latency": 0.05}, {}):
        recommended(url, **more)
    storage = open_storage(url)
    names = [n for n in optuna.get_all_study_names(storage) if n.startswith("advisor-evaluation-")]
    trials = [t for n in names for t in optuna.load_study(study_name=n, storage=storage).trials]
    assert len(names) == len(trials) < 2 * TRIALS


@pytest.mark.slow
def test_a_study_of_another_request_model_or_data_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    recommended(url, study="mine", trials=2)
    recommended(url, study="mine", trials=2)
    with pytest.raises(AdvisorError, match=r"study 'mine' on the storage is of another request.*Name another --study"):
        recommended(url, study="mine", trials=2, max_accuracy_drop=0.2)
    x, y = samples()
    with pytest.raises(AdvisorError, match=r"study 'mine' on the storage is of another data"):
        recommended(url, study="mine", trials=2, data=(x[:200], y[:200]))


def test_what_no_storage_can_compare_needs_a_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"

    def bytes_sent(plan: Any) -> float:
        return float(plan.predicted["bytes"].value)

    with pytest.raises(AdvisorError, match=r"The objective is given in Python.*Name the study"):
        recommended(url, objective=bytes_sent, trials=2)
    assert recommended(url, objective=bytes_sent, trials=2, study="mine").best is not None
    with pytest.raises(AdvisorError, match="A study is named, and no storage that holds it"):
        recommended(None, trials=2, study="mine")


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [
        '{"score": "much"}',
        "[]",
        '[{"cut": "nowhere", "defense": "gaussian"}]',
        '[{"cut": "1", "defense": "os:system", "os:system.x": 1}]',
        '[{"cut": "1", "defense": "gaussian", "gaussian.dfil": 1e9}]',
        "7",
    ],
)
def test_results_that_we_did_not_write_are_refused(value: str, tmp_path: Path) -> None:
    import sqlite3

    url = f"sqlite:///{tmp_path / 's.db'}"
    recommended(url, trials=2)
    kind = "evaluation" if "score" in value or value == "[]" else "round"
    with sqlite3.connect(tmp_path / "s.db") as database:
        database.execute(
            "update trial_user_attributes set value_json = ? where key = 'result' and trial_id in "
            "(select trial_id from trials join studies using (study_id) where study_name like ?)",
            (value, f"advisor-{kind}-%"),
        )
    with pytest.raises(
        AdvisorError, match=rf"The storage's {kind} \w+ is not one of advisor: .* Name another --storage"
    ):
        recommended(url, trials=2)


FITS = {"defenses": "ridge", "cuts": "2,4", "effort": "quick", "recipe": "width=4,epochs=1,sigma=0.2..0.5"}


@pytest.mark.slow
def test_a_fit_and_an_attack_are_done_once_and_their_weights_are_taken_by_digest(tmp_path: Path) -> None:
    url, options = (
        f"sqlite:///{tmp_path / 's.db'}",
        FITS | {"verify": "quick", "min_nmse": 0.001, "max_accuracy_drop": 0.9},
    )
    one, other = (recommended(url, **options) for _ in range(2))
    assert plain(one) == plain(other)
    storage = open_storage(url)
    for kind in ("fit", "attack"):
        names = [name for name in optuna.get_all_study_names(storage) if name.startswith(f"advisor-{kind}-")]
        assert names, kind
        assert all(len(optuna.load_study(study_name=name, storage=storage).trials) == 1 for name in names)
    digests = {plan.fitted.digest for plan in one.pareto if plan.fitted is not None}
    kept = {path.stem for path in (tmp_path / "s.db-artifacts").iterdir()}
    assert digests <= kept
    told = (tmp_path / "s.db").read_bytes()
    assert b"data:image" not in told
    for sample in samples()[0]:
        assert sample.numpy().tobytes() not in told
        assert f"{float(sample.flatten()[0])!r}, {float(sample.flatten()[1])!r}".encode() not in told
