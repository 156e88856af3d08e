"""What the commands print, write and return when all is well."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import advisor
from advisor import profilers
from advisor.columns import Profile
from tests.conftest import Run, samples, tiny_net, tree

CUTS = ["input", "0", "1", "2", "3", "4", "output"]


def test_recommend_writes_both_files_and_prints_the_answer(recommend: Run, tmp_path: Path) -> None:
    result = recommend()
    assert result.exit_code == 0, result.output
    assert sorted(tree(tmp_path)) == ["out/advice.json", "out/report.html"]
    advice = advisor.load_advice(tmp_path / "out")
    assert advice.headline in " ".join(result.stdout.split())
    assert [cut.name for cut in advice.profile.cuts] == CUTS
    assert advice.feasible
    for stage in ("load", "trace", "data", "cost", "leakage", "search"):
        assert f"{stage} " in result.stderr.split("Took ")[1]
        assert advice.provenance["stages"][stage] > 0
    assert "out/advice.json and out/report.html" in result.stderr.replace(os.sep, "/")


def test_json_is_all_that_standard_output_gets(recommend: Run, tmp_path: Path) -> None:
    result = recommend("--json")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown.pop("answer")["verdict"]
    assert shown == json.loads((tmp_path / "out" / "advice.json").read_text())
    assert shown["schema_version"] == "1.1"


def test_what_the_model_prints_does_not_reach_standard_output(
    recommend: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loud.py").write_text(
        "from tests.conftest import tiny_net\ndef net():\n    print('hello from the factory')\n    return tiny_net()\n"
    )
    torch.save(tiny_net().state_dict(), tmp_path / "w.pt")
    result = recommend("--json", "--arch", "loud:net", model="w.pt")
    assert result.exit_code == 0, result.output
    assert "hello from the factory" in result.stderr
    assert json.loads(result.stdout)["feasible"] is True


@pytest.mark.slow
def test_the_printed_command_gives_the_same_answer(recommend: Run, cli: Run, tmp_path: Path) -> None:
    first = recommend("--max-accuracy-drop", "5%", "--defenses", "int8", "--seed", 3, "--out", "a b")
    assert first.exit_code == 0, first.output
    saved = advisor.load_advice(tmp_path / "a b")
    words = shlex.split(saved.provenance["command"])
    assert words[:2] == ["advisor", "recommend"]
    assert words[words.index("--out") + 1] == "a b"
    assert words[words.index("--seed") + 1] == "3"
    assert "--link" not in words  # a default
    assert saved.provenance["command"] in first.stdout
    again = cli(*words[1:])
    assert again.exit_code == 0, again.output
    repeated = advisor.load_advice(tmp_path / "a b")
    assert repeated.profile.to_json()["columns"] == saved.profile.to_json()["columns"]
    assert [str(plan) for plan in repeated.pareto] == [str(plan) for plan in saved.pareto]
    assert str(repeated.best) == str(saved.best)


def test_impossible_budgets_exit_3_with_the_nearest_plans_saved_and_shown(recommend: Run, tmp_path: Path) -> None:
    result = recommend("--max-latency", "1us")
    assert result.exit_code == 3, result.output
    advice = advisor.load_advice(tmp_path / "out")
    assert not advice.feasible
    assert advice.nearest
    assert all(plan.excess["max_latency"] > 0 for plan in advice.nearest)
    assert "Nothing meets the budgets." in result.stdout
    assert "nearest" in result.stdout
    assert "missed" in result.stdout


@pytest.mark.slow
def test_without_data_the_advice_says_what_it_was_measured_on(recommend: Run, tmp_path: Path) -> None:
    result = recommend(data=None)
    assert result.exit_code == 0, result.output
    assert any("no data given" in sentence for sentence in advisor.load_advice(tmp_path / "out").assumptions)


def test_budgets_reach_the_advice_in_si_units(recommend: Run, tmp_path: Path) -> None:
    result = recommend(
        "--max-latency", "20s", "--max-accuracy-drop", "100%", "--max-ssim", "1", "--min-nmse", "0",
        "--max-edge-memory", "1GiB",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    budgets = advisor.load_advice(tmp_path / "out").budgets
    assert (budgets.max_latency, budgets.max_accuracy_drop, budgets.max_edge_memory) == (20.0, 1.0, 2**30)
    assert (budgets.max_ssim, budgets.min_nmse) == (1.0, 0.0)


def test_a_profile_measured_elsewhere_is_taken(recommend: Run, cli: Run, tiny_model: Path, tmp_path: Path) -> None:
    assert cli("profile", tiny_model, "--device", "raspberry-pi-4b", "--out", "there").exit_code == 0
    there = Profile.load(tmp_path / "there" / "profile.json")
    result = recommend("--profile", "there/profile.json")
    assert result.exit_code == 0, result.output
    here = advisor.load_advice(tmp_path / "out").profile
    np.testing.assert_array_equal(here["edge_latency"].values, there["edge_latency"].values)


def test_profile_writes_and_prints_the_cost_columns(cli: Run, tiny_model: Path, tmp_path: Path) -> None:
    result = cli("profile", tiny_model, "--device", "jetson-nano", "--link", "bandwidth=20Mbps,rtt=15ms", "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "out" / "profile.json").read_text()
    found = Profile.from_json(json.loads(result.stdout))
    graph = advisor.trace(tiny_model)
    expected = profilers.profile(graph, "jetson-nano", "bandwidth=20Mbps,rtt=15ms")
    for column in expected:
        np.testing.assert_allclose(found[column.name].values, column.values)
    assert found["macs"].values[-1] == 4 * 9 * 64 + 4 * 4 * 9 * 9 + 360


def test_profile_goes_to_a_json_file_when_out_names_one(cli: Run, tiny_model: Path, tmp_path: Path) -> None:
    result = cli("profile", tiny_model, "--out", "board.json")
    assert result.exit_code == 0, result.output
    assert sorted(tree(tmp_path)) == ["board.json"]
    assert "output" in result.stdout
    assert "Wrote board.json." in result.stderr


def test_leakage_measures_the_columns_asked_for(cli: Run, tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    result = cli("leakage", tiny_model, "--data", tiny_data, "--only", "rc2,linear_nmse")
    assert result.exit_code == 0, result.output
    found = Profile.load(tmp_path / "out" / "leakage.json")
    assert {"rc2", "linear_nmse"} <= set(found.columns)
    assert "fisher" not in found
    assert "linear NMSE" in result.stdout
    wrong = cli("leakage", tiny_model, "--data", tiny_data, "--only", "magic")
    assert wrong.exit_code == 2
    assert "no leakage column 'magic'" in wrong.stderr


def test_attack_prints_what_the_library_finds(cli: Run, tiny_model: Path, tiny_data: Path) -> None:
    from advisor.defenses import GaussianNoise

    result = cli(
        "attack", tiny_model, "--cut", "2", "--defense", "gaussian:sigma=0.5", "--data", tiny_data, "--json"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    x = torch.from_numpy(samples()["x"])
    expected = advisor.attack(advisor.trace(tiny_model), "2", x, defense=GaussianNoise(0.5))
    assert found["cut"] == "2"
    assert found["nmse"]["value"] == pytest.approx(float(expected.nmse), abs=1e-4)
    shown = cli("attack", tiny_model, "--cut", "2", "--data", tiny_data)
    assert shown.exit_code == 0, shown.output
    assert "NMSE" in shown.stdout
    assert "defense: none" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cut", "nowhere"), "nowhere"),
        (("--cut", "2", "--defense", "magic"), "no defense 'magic'. Known: none, gaussian, fp16, int8"),
        (("--cut", "2", "--defense", "gaussian"), "gaussian needs sigma. Write gaussian:sigma=0.5"),
        (("--cut", "2", "--defense", "gaussian:sigma=much"), "'much' in 'gaussian:sigma=much' is no number"),
        (("--cut", "2", "--defense", "int8:step=1"), "int8 has no parameter 'step'. It has: none"),
        (("--cut", "2", "--budget", "endless"), "no budget 'endless'. Known: quick, strong"),
        (("--cut", "2", "--aux", "nowhere.npz"), "nowhere.npz"),
    ],
)
def test_attack_refuses(
    arguments: tuple[str, ...], message: str, cli: Run, tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    result = cli("attack", tiny_model, "--data", tiny_data, *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("command", ["devices", "links", "attacks", "defenses"])
def test_no_line_that_is_piped_ends_in_blanks(command: str, cli: Run) -> None:
    assert [line for line in cli(command).stdout.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("noun", ["devices", "links"])
def test_every_listed_name_is_one_that_the_options_take(noun: str, cli: Run) -> None:
    find = {"devices": profilers.device, "links": profilers.link}[noun]
    rows = json.loads(cli(noun, "--json").stdout)
    assert {"jetson", "raspberry-pi-4b", "t4"} <= {r["name"] for r in rows} or {"wifi", "4g"} <= {
        r["name"] for r in rows
    }
    for row in rows:
        assert str(find(row["name"])) == row["means"]
        assert row["source"]
    plain = cli(noun)
    assert plain.exit_code == 0
    assert all(row["name"] in plain.stdout for row in rows)
    full = "".join(cli(noun, "--full").stdout.split())
    assert "".join(rows[0]["source"].split())[:12] in full


def test_a_device_whose_times_nothing_tells_is_marked_with_what_to_do(cli: Run) -> None:
    rows = {row["name"]: row for row in json.loads(cli("devices", "--json").stdout)}
    assert (rows["raspberry-pi-4b"]["times"], rows["t4"]["times"]) == ("own", "kin")
    unknown = [name for name, row in rows.items() if not row["times"]]
    assert "raspberry-pi-zero-2w" in unknown
    for name in unknown:
        with pytest.raises(advisor.AdvisorError, match="Measure on the device itself"):
            profilers.profile(advisor.trace(tiny_net(), torch.zeros(2, 1, 8, 8)), name)
        assert "Measure on the device itself" in rows[name]["why"]
    text = " ".join(cli("devices").stdout.split())
    assert "none raspberry-pi-zero-2w, " in text


def test_a_user_own_catalog_joins_the_list(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[links.office]\nup_mbps = 90\nrtt_ms = 3\nsource = "measured"\n')
    result = cli("links", "--extra", "own.toml")
    assert result.exit_code == 0
    assert "office" in result.stdout
    assert "90.0 Mbps" in result.stdout
    assert cli("links", "--extra", "none.toml").exit_code == 2


def test_version_and_help(cli: Run) -> None:
    assert cli("--version").stdout.strip() == f"advisor {advisor.__version__}"
    text = cli("--help").stdout
    for command in ("recommend", "profile", "leakage", "attack", "attacks", "devices", "links"):
        assert command in text
        assert cli(command, "--help").exit_code == 0


def test_a_terminal_without_the_characters_still_gets_the_answer(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "advisor", "links"],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, capture_output=True, check=True,
        cwd=tmp_path,
    )  # fmt: skip
    assert b"wifi" in result.stdout


def test_a_reader_that_goes_away_is_no_bug(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "advisor", "devices", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert b"Traceback" not in errors
    assert b"bug" not in errors
