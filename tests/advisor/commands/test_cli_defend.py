"""`advisor defenses` and `advisor defend`: what there is, and one fit asked for by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import advisor
from advisor.cli import app
from advisor.defenses import DEFENSES
from advisor.defenses.methods import METHODS

run = CliRunner().invoke


def test_every_defense_is_listed_with_what_breaks_it():
    shown = run(app, ["defenses", "--json"])
    rows = {row["name"]: row for row in json.loads(shown.stdout)}
    assert set(rows) == {*DEFENSES, *METHODS}
    assert rows["gaussian"]["kind"] == "payload"
    assert rows["ridge"]["kind"] == "method"
    assert "Maeng" in rows["gaussian"]["paper"]
    assert rows["ridge"]["settings"]["width"] == "8"
    assert all(row["broken_by"] and row["about"] for row in rows.values())


def test_the_list_for_people_names_each():
    shown = run(app, ["defenses"]).stdout
    assert all(f"  {name}: " in shown for name in (*DEFENSES, *METHODS))
    assert "broken by: ka" in shown


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits_net, digits_data):
    folder = tmp_path_factory.mktemp("defend")
    x, y = digits_data
    torch.export.save(torch.export.export(digits_net, (x[:2],)), folder / "net.pt2")
    np.savez(folder / "data.npz", x=x[:200].numpy(), y=y[:200].numpy())
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "ridge"], "At which cut is it to be fitted?"),
        (["--cut", "block2.2"], "Which method is to be fitted?"),
        (["--cut", "block2.2", "--method", "int8"], "'int8' is not fitted. Name a method: tuned"),
        (["--cut", "block2.2", "--method", "rigde"], "no defense 'rigde'"),
        (["--cut", "block2.2", "--method", "ridge", "--recipe", "depth=3"], "has a setting 'depth'"),
        (["--cut", "block2.2", "--method", "ridge"], "fitted to samples, and none are given"),
    ],
)
def test_what_is_missing_is_one_line_and_nothing_is_run(files, words, said):
    found = run(app, ["defend", str(files / "net.pt2"), *words, "--out", str(files / "none")])
    assert found.exit_code == 2
    assert said in found.stderr
    assert len(found.stderr.strip().splitlines()) <= 2
    assert not (files / "none" / "advice.json").exists()


@pytest.mark.slow
def test_a_fit_is_kept_beside_its_advice_and_fitted_again_from_it(files, digits_net, digits_data):
    out, again = files / "out", files / "again"
    words = ["--data", str(files / "data.npz"), "--verify", "none", "--recipe", "epochs=1,batch=32"]
    first = run(app, [
        "defend", str(files / "net.pt2"), "--cut", "block2.2", "--method", "tuned", *words, "--out", str(out),
        "--max-accuracy-drop", "90%",
    ])  # fmt: skip
    assert first.exit_code == 0, first.stderr
    plan = advisor.load_advice(out).best
    assert plan.fitted.method == "tuned"
    assert plan.places[0] == "block2.2"
    edge, cloud = plan.split(digits_net)
    assert cloud(edge(digits_data[0][:3])).shape == (3, 10)
    second = run(app, ["defend", str(out), *words[2:], "--out", str(again)])
    assert second.exit_code == 0, second.stderr
    assert "method tuned, as the advice chose" in second.stderr
    assert advisor.load_advice(again).best.fitted.at == "block2.2"
