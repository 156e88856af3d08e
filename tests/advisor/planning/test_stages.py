"""The stages: frozen, each with its own notes and seconds, the one before as it was."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path

import numpy as np
import pytest
import torch

from advisor.errors import InterruptedRunError
from advisor.files import sha256
from advisor.planning.advice_builder import assemble, provenance_of
from advisor.planning.preparing.load_and_trace import load, trace
from advisor.planning.preparing.measuring_cuts import measure
from advisor.planning.preparing.preparing_samples import prepare
from advisor.planning.searching.search import search
from advisor.planning.stages import Step, step
from advisor.planning.verifying.verification import verify
from advisor.request import Request
from tests.conftest import samples, tiny_net

DATA = tuple(torch.from_numpy(part) for part in samples().values())
REQUEST = Request.of(model=tiny_net(), data=DATA, trials=1, defenses="none")


def test_each_stage_says_what_it_found_and_the_advice_is_made_of_them() -> None:
    told: list[str] = []

    def progress(stage: str, share: float, what: str) -> None:
        told.append(stage)

    traced = trace(REQUEST, load(REQUEST, progress), progress)
    measured = measure(REQUEST, prepared := prepare(REQUEST, traced, progress), progress)
    searched = search(REQUEST, measured, progress)
    before = searched.plans
    verified = verify(REQUEST, searched, progress)
    steps = ["load", "trace", "data", "cost", "leakage", "search", "verify"]
    assert list(dict.fromkeys(told)) == steps
    assert list(verified.all_seconds) == steps
    assert [list(stage.seconds) for stage in verified.chain] == [
        ["load"], ["trace"], ["data"], ["cost", "leakage"], ["search"], ["verify"],
    ]  # fmt: skip
    assert all(seconds >= 0 for seconds in verified.all_seconds.values())
    assert verified.all_notes == tuple(dict.fromkeys(note for stage in verified.chain for note in stage.notes))
    assert (searched.plans, [plan.verified for plan in before]) == (before, [{}] * len(before))
    assert any(plan.verified for plan in verified.plans)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'notes'"):
        measured.notes = ()  # type: ignore[misc]
    advice = assemble(REQUEST, verified, provenance_of(REQUEST, verified, ""))
    assert advice.assumptions == verified.all_notes
    assert advice.provenance["stages"].keys() == set(steps)
    again = measure(REQUEST, prepared)
    assert again.evaluator.profile.to_json() == measured.evaluator.profile.to_json()


def tensors() -> list[torch.Tensor]:
    """All that are alive."""
    gc.collect()
    return [found for found in gc.get_objects() if type(found) is torch.Tensor and found.layout is torch.strided]


def test_the_data_as_they_were_read_are_let_go_once_they_are_divided(tmp_path: Path) -> None:
    before = tensors()  # of other tests; they stay alive, so that no id is given twice
    data = samples(397)
    np.savez(tmp_path / "data.npz", **data)
    request = Request.of(model=tiny_net(), data=tmp_path / "data.npz", defenses="none")
    prepared = prepare(request, trace(request, load(request)))
    others = set(map(id, before))
    held = {found.untyped_storage().nbytes() for found in tensors() if id(found) not in others}
    assert held
    assert data["x"].nbytes not in held
    assert prepared.source.count == 397
    assert prepared.source.sha256["data"] == sha256(tmp_path / "data.npz")


def test_what_has_no_plan_yet_is_interrupted_with_the_costs_that_are_known() -> None:
    measured = measure(REQUEST, prepare(REQUEST, trace(REQUEST, load(REQUEST))))
    with (
        pytest.raises(InterruptedRunError, match="Interrupted during leakage") as caught,
        step("leakage", None, measured.cost),
    ):
        raise KeyboardInterrupt
    assert caught.value.profile is measured.cost

    def press(stage: str, share: float, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match="Interrupted during search") as caught:
        search(REQUEST, measured, press)
    assert caught.value.profile is measured.cost
    searched = search(REQUEST, measured)
    stopped = verify(REQUEST, searched, press)
    assert (stopped.plans, stopped.interrupted) == (searched.plans, "verify")


def test_a_step_that_fails_is_timed_and_ends_nowhere() -> None:
    shares: list[float] = []
    now = Step("cost", lambda stage, share, what: shares.append(share))

    def failing() -> None:
        with now.timed():
            now(0.5, "one")
            raise ZeroDivisionError("as in a profiler")

    with pytest.raises(ZeroDivisionError, match="as in a profiler"):
        failing()
    assert shares == [0.0, 0.5]
    assert now.seconds.keys() == {"cost"}
