from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from advisor.errors import AdvisorError
from advisor.profilers.boards import agent, tally
from advisor.profilers.boards.agent import LATE_ROUNDS, MIN_ROUNDS, WARM_UP, interval, time_cases

SOURCE = Path(agent.__file__)


class FakeTime:
    """A clock that only the timed work moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: Callable[[int], float]) -> Callable[..., int]:
        def step(*_: object) -> int:
            self.calls += 1
            self.now += seconds(self.calls)
            return 0

        return step


def test_steady_work_is_measured_exactly_and_stops_early() -> None:
    clock, shares = FakeTime(), []
    cases: list[agent.Case] = [
        (["whole"], [clock.work(lambda _: 0.5)], (0,)),
        (["edge:1", "cloud:1"], [clock.work(lambda _: 0.2), clock.work(lambda _: 0.4)], (0,)),
    ]
    samples = time_cases(cases, clock, limit=100, told=lambda _, share: shares.append(share))
    assert clock.calls == 3 * (MIN_ROUNDS + WARM_UP)
    expected = {"whole": 0.5, "edge:1": 0.2, "cloud:1": 0.4}
    assert {k: np.mean(v) for k, v in samples.items()} == pytest.approx(expected)
    assert {len(v) for v in samples.values()} == {MIN_ROUNDS}
    assert shares == sorted(shares)
    assert shares[0] == 0


def test_noisy_work_stops_at_the_time_limit() -> None:
    clock = FakeTime()
    noise = np.random.default_rng(0).uniform(0.1, 2, 10_000)
    samples = time_cases([(["whole"], [clock.work(lambda i: float(noise[i]))], (0,))], clock, limit=50)
    assert 30 < len(samples["whole"]) < 80
    assert clock.now == pytest.approx(50, abs=3)


def test_slow_work_gets_a_few_rounds_past_the_limit() -> None:
    clock = FakeTime()
    samples = time_cases([(["whole"], [clock.work(lambda _: 9.0)], (0,))], clock, limit=1)
    assert len(samples["whole"]) == LATE_ROUNDS
    assert clock.calls == LATE_ROUNDS + 1


def test_each_step_takes_what_the_one_before_returned() -> None:
    seen: list[object] = []
    steps = [lambda a: (a, a + 1), lambda a, b: seen.append((a, b)) or a + b, lambda c: seen.append(c)]
    time_cases([(["whole", "b", "c"], steps, (1,))], FakeTime(), limit=1)
    assert seen[:2] == [(1, 2), 3]


def test_median_and_interval() -> None:
    for size in (1, 2, 5, 9, 30):
        values = np.random.default_rng(size).normal(size=size).tolist()
        middle, low, high = interval(values)
        assert middle == pytest.approx(np.median(values))
        assert min(values) <= low <= middle <= high <= max(values)


def test_median_interval_covers_the_true_median() -> None:
    rng = np.random.default_rng(0)
    for size in (9, 30, 101):
        found = [interval(rng.exponential(size=size).tolist()) for _ in range(1000)]
        assert 0.88 < np.mean([low <= np.log(2) <= high for _, low, high in found]) < 0.97, size


def test_one_file_for_python_3_8_that_needs_nothing_of_ours() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    names |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names <= set(sys.stdlib_module_names) | {"__future__", "torch", "onnxruntime", "numpy"}
    top = {n for n in ast.iter_child_nodes(tree) if isinstance(n, ast.Import)}
    assert not {alias.name for n in top for alias in n.names} & {"torch", "onnxruntime", "numpy"}


def test_probe_is_one_line_of_json() -> None:
    done = subprocess.run([sys.executable, "-S", SOURCE, "probe"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["torch"] is None
    assert "No module named 'torch'" in found["missing"]["torch"]
    assert found["cores"] >= 1


def test_usage() -> None:
    done = subprocess.run([sys.executable, SOURCE, "dance"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: agent.py")


def run(folder: Path) -> dict[str, object]:
    subprocess.run([sys.executable, SOURCE, "run", folder], check=True, timeout=60)
    return json.loads((folder / "result.json").read_text()) if folder.exists() else {}


def test_a_job_that_cannot_be_read_is_said_and_the_folder_goes_when_the_lease_ends(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "job.json").write_text('{"runtime": "abacus", "lease": 0}')
    (folder / "alive").touch()
    assert run(folder) == {}
    assert not folder.exists()


def test_a_second_start_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "agent.pid").write_text("1")
    assert agent.run(str(tmp_path)) == 0
    assert not (tmp_path / "result.json").exists()


RESULT = {
    "rounds": 7,
    "times": {"whole": (0.5, 0.49, 0.52), "edge:1": (0.2, 0.19, 0.21), "cloud:1": (0.35, 0.3, 0.4)},
    "pieces": (0.6, 0.6, 0.6),
    "started": [1.2e9],
    "ended": [1.5e9],
}
FACTS = {"runtime": "pytorch-eager", "version": "1.13", "on": "cpu", "threads": 4, "board": "a board", "memory": 2e9}


def test_halves_are_as_they_were_timed_and_the_gaps_are_said() -> None:
    found = tally.halves(RESULT, 3, FACTS, "there")
    assert [e.value for e in found.edge] == [0, 0.2, 0.5]
    assert [e.value for e in found.cloud] == [0.5, 0.35, 0]
    assert (found.edge[1].low, found.edge[1].high, found.edge[1].source) == (0.19, 0.21, "measured")
    assert found.facts["memory"] == 2e9
    for text in ("at most +10.0 %", "by +20.0 %", "4 threads", "1.20 to 1.50 GHz", "a board", "7 rounds"):
        assert text in found.notes[0]


@pytest.mark.parametrize(
    ("width", "says"),
    [(0.001, "each half pays for its own call"), (0.1, "the machine was not steady")],
)
def test_a_wide_gap_is_explained(width: float, says: str) -> None:
    """By noise where the intervals reach as far, else by what splitting costs; at the cut where it is widest."""
    times = {"whole": 0.5, "edge:1": 0.2, "cloud:1": 0.31, "edge:2": 0.3, "cloud:2": 0.25}
    result = {**RESULT, "times": {name: (t, t - width, t + width) for name, t in times.items()}}
    (note,) = tally.halves(result, 4, FACTS, "there").notes
    widest_of_two = 1.959964 / 1.644854  # 5 % on either side, shared by two cuts
    reach = 100 * 3**0.5 * width / 0.5 * widest_of_two
    assert f"at most +10.0 % (at cut 2, where noise alone may reach ±{reach:.1f} %: {says}" in note


def test_a_result_that_stopped_early_is_refused() -> None:
    with pytest.raises(AdvisorError, match=r"there timed no more than 3 of 5 halves"):
        tally.halves(RESULT, 4, FACTS, "there")


def test_nested_parts_are_put_in_order_as_isotonic_regression_does() -> None:
    from sklearn.isotonic import isotonic_regression

    values = np.random.default_rng(0).normal(np.linspace(0, 2, 30), 1)
    found = tally.nested([tally.estimate((v, v - 1, v + 1)) for v in values])
    assert [e.value for e in found] == pytest.approx(isotonic_regression(values))
    assert [e.high - e.low for e in found] == pytest.approx([2.0] * 30)
