"""Progress: parts of a whole, stages of a run, and what each caller is told."""

import pytest

from advisor.progress import about, of_shares, of_stage, of_steps, part, silence

Told = list[tuple[float, str]]


def test_a_part_of_a_part_runs_over_its_share_of_the_whole() -> None:
    told: Told = []
    inner = part(part(of_steps(lambda *now: told.append(now)), 0.5, 0.5), 0.2, 0.4)
    inner(0.0)
    inner(1.0)
    assert [share for share, _ in told] == pytest.approx([0.6, 0.8])


def test_what_is_worked_on_is_the_part_s_own_else_the_whole_s() -> None:
    told: Told = []
    whole = of_steps(lambda *now: told.append(now))
    named = part(whole, 0.0, 0.5, "outer")
    part(named, 0.0, 1.0)(0.5)
    part(named, 0.0, 1.0, "inner")(0.5)
    about(named, "inner")(1.0, "its own")
    assert told == [(0.25, "outer"), (0.25, "inner"), (0.5, "its own")]


def test_each_caller_is_told_in_its_own_shape() -> None:
    run: list[tuple[str, float, str]] = []
    steps: Told = []
    shares: list[float] = []
    of_stage(lambda *now: run.append(now), "cost")(0.5)
    of_steps(lambda *now: steps.append(now))(0.5)
    of_shares(shares.append)(0.5, "a cut")
    assert (run, steps, shares) == ([("cost", 0.5, "")], [(0.5, "")], [0.5])


def test_where_nobody_listens_there_is_silence() -> None:
    assert of_stage(None, "cost") is of_steps(None) is of_shares(None) is silence
