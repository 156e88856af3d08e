"""Which measurements of earlier advice are taken again, and which are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

import advisor
from advisor import profilers
from advisor.advice import Advice
from advisor.planning.preparing import measuring_cuts
from advisor.planning.preparing.reuse import COST_TAKEN, LEAKAGE_TAKEN
from advisor.planning.selecting import alternatives
from tests.conftest import samples, tiny_net

X, Y = (torch.from_numpy(part) for part in samples().values())


def recommended(model: nn.Module, **options: object) -> Advice:
    given = {"data": (X, Y), "trials": 1, "defenses": "none", "verify": "none"} | options
    return advisor.recommend(model, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Advice:
    """Advice about a module in memory, as its file holds it."""
    folder = tmp_path_factory.mktemp("first")
    recommended(tiny_net()).save(folder)
    return advisor.load_advice(folder)


def taken(advice: Advice) -> set[str]:
    return {COST_TAKEN, LEAKAGE_TAKEN} & set(advice.assumptions)


def test_a_module_in_memory_is_neither_priced_nor_studied_again(first: Advice, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in ((profilers, "profile"), (measuring_cuts, "study")):
        monkeypatch.setattr(place, name, lambda *_, **__: pytest.fail("measured again"))
    monkeypatch.setattr(alternatives, "devices_above", lambda device: [])  # which is priced anew
    second = recommended(tiny_net(), earlier=first, max_latency="1us")
    assert taken(second) == {COST_TAKEN, LEAKAGE_TAKEN}
    assert second.profile.to_json() == first.profile.to_json()
    assert second.assumptions[0] == first.assumptions[0]
    assert [note for note in second.assumptions if note not in {COST_TAKEN, LEAKAGE_TAKEN}] == list(first.assumptions)


@pytest.mark.parametrize(
    "place",
    [
        {"device": "raspberry-pi-5"},
        pytest.param({"link": "lte"}, marks=pytest.mark.slow),
        pytest.param({"cloud": "l4"}, marks=pytest.mark.slow),
    ],
)
def test_on_another_device_link_or_cloud_it_is_priced_again(first: Advice, place: dict[str, str]) -> None:
    second, fresh = recommended(tiny_net(), earlier=first, **place), recommended(tiny_net(), **place)
    assert taken(second) == {LEAKAGE_TAKEN}
    assert second.profile.to_json()["columns"] == fresh.profile.to_json()["columns"]


def test_one_other_weight_is_another_model(first: Advice) -> None:
    other = tiny_net()
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1e-3
    second = recommended(other, earlier=first)
    assert taken(second) == set()
    assert "Nothing was taken from the earlier advice: it has another model." in second.assumptions


def test_other_data_leave_the_costs_as_they_were(first: Advice) -> None:
    second = recommended(tiny_net(), earlier=first, data=(X.flip(-1), Y))
    assert taken(second) == {COST_TAKEN}
    assert "Only costs were taken from the earlier advice: it has another data." in second.assumptions
    assert (second.profile["latency"].values == first.profile["latency"].values).all()


def test_times_of_another_computer_are_measured_again(first: Advice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advisor.profilers.boards.measured.TIME_LIMIT", 0.1)
    here = recommended(tiny_net(), device="local")
    assert taken(recommended(tiny_net(), device="local", earlier=here)) == {COST_TAKEN, LEAKAGE_TAKEN}
    there = dataclasses.replace(here, provenance=here.provenance | {"host": {"system": "Plan 9", "threads": 1}})
    assert taken(recommended(tiny_net(), device="local", earlier=there)) == {LEAKAGE_TAKEN}


def test_a_stored_study_is_of_one_graph_whatever_file_it_came_from(
    first: Advice, tiny_model: Path, tmp_path: Path
) -> None:
    import optuna

    storage = f"sqlite:///{tmp_path / 'search.db'}"
    options = {"storage": storage, "defenses": "int8", "trials": 2, "earlier": first}

    def studies() -> list[str]:
        return [name for name in optuna.get_all_study_names(storage) if name.count("-") == 1]  # others are of one task

    recommended(tiny_net(), **options)
    recommended(tiny_model, **options)  # type: ignore[arg-type]
    assert len(studies()) == 1
    recommended(nn.Sequential(*tiny_net()[:-1], nn.Linear(36, 10)).eval(), **options)
    assert len(studies()) == 2
