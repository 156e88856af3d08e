"""`advisor.toml` and `[tool.advisor]` set the harmless fields, each said with its path; anything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import advisor
from advisor.errors import AdvisorError
from advisor.settings import READERS, checked, defaults
from tests.conftest import Run

pytestmark = pytest.mark.usefixtures("short_attacks")

SETTINGS = 'max-latency = "20s"\nseed = 4\nobjective = "nmse"\ndefenses = "int8"\neffort = "quick"\nlink = "lte"\n'


def test_a_folders_settings_are_defaults_and_are_said(recommend: Run, tmp_path: Path) -> None:
    (tmp_path / "advisor.toml").write_text('max-latency = "20s"\nseed = 4\ndefenses = "int8"\n')
    result = recommend("--seed", 5)
    assert result.exit_code == 0, result.output
    said = "Note: advisor.toml sets max_latency = 20 s, seed = 4, defenses = int8; --no-config leaves it out."
    assert said in result.stderr
    request = advisor.load_advice(tmp_path / "out").request
    assert (request.requirements.max_latency, request.search.defenses) == (20.0, "int8")
    assert request.search.seed == 5  # the command line goes first
    plain = recommend("--no-config", "--out", "plain")
    assert "advisor.toml" not in plain.stderr
    assert advisor.load_advice(tmp_path / "plain").request.search.seed == 0


def test_both_places_are_read_and_the_own_file_goes_first(tmp_path: Path) -> None:
    assert defaults(tmp_path) == ({}, "")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert defaults(tmp_path) == ({}, "")
    (tmp_path / "pyproject.toml").write_text(f"[tool.advisor]\n{SETTINGS}")
    found, path = defaults(tmp_path)
    assert found == {
        "max_latency": 20.0, "seed": 4, "objective": "nmse", "defenses": "int8", "effort": "quick", "link": "lte",
    }  # fmt: skip
    assert path.endswith("pyproject.toml [tool.advisor]")
    (tmp_path / "advisor.toml").write_text("seed = 9\n")
    assert defaults(tmp_path) == ({"seed": 9}, str(tmp_path / "advisor.toml"))


@pytest.mark.parametrize(
    "key", ["arch", "trust", "model", "data", "storage", "out", "profile", "pictures", "verify", "trials", "x" * 5000]
)
def test_what_is_not_listed_is_refused(key: str) -> None:
    with pytest.raises(AdvisorError, match=r"may not be set by a file\. A file sets requirements") as caught:
        checked({key: "x"}, "advisor.toml")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("device", "ssh://board", "no device of the catalog"),
        ("device", "mine.toml", "no device of the catalog"),
        ("cloud", 5, "no device of the catalog"),
        ("link", "trace=/dev/zero", "no link of the catalog"),
        ("defenses", "my.package:Defense", "no installed defense"),
        ("objective", "luck", "no objective"),
        ("effort", "endless", "none of quick, standard, thorough"),
        ("seed", True, "no whole number"),
        ("seed", -1, "no whole number"),
        ("max-latency", -1, "not a duration"),
        ("max_latency", {"a": 1}, "not a duration"),
        ("min-nmse", "200%", "above 1"),
    ],
)
def test_values_that_a_file_may_not_name_are_refused(key: str, value: object, reason: str) -> None:
    with pytest.raises(AdvisorError, match=reason) as caught:
        checked({key: value}, "advisor.toml")
    assert str(caught.value).startswith("advisor.toml: ")
    assert "--no-config" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 100_000, "x = " + "{a=" * 5000, "\xff\xfe", "a" + ".a" * 30_000 + " = 1",
        "seed = " + "9" * 5000, "seed",
    ],
    ids=["deep", "inline", "not utf-8", "dots", "huge", "no value"],
)  # fmt: skip
def test_hostile_settings_end_in_one_line(cli: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "advisor.toml").write_bytes(text.encode("latin-1"))
    result = cli("recommend", "m.pt2")
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(errors) == 1
    assert "advisor.toml" in errors[0]
    assert len(errors[0]) < 3000


def test_nothing_that_names_code_machines_or_places_has_a_reader() -> None:
    assert set(READERS) == {"objective", "link", "device", "cloud", "effort", "seed", "task", "defenses"}


def test_they_count_for_every_command_that_takes_a_model(tiny_model: Path, cli: Run, tmp_path: Path) -> None:
    (tmp_path / "advisor.toml").write_text('device = "raspberry-pi-5"\nlink = "lte"\nseed = 7\nmax-latency = "1s"\n')
    said = "Note: advisor.toml sets device = raspberry-pi-5, link = lte, seed = 7, max_latency = 1 s; --no-config"
    priced = cli("profile", tiny_model, "--link", "5g", "--json")
    assert said in priced.stderr
    assert advisor.Profile.load(tmp_path / "out" / "profile.json").provenance["device"]["name"] == "raspberry-pi-5"
    assert advisor.Profile.load(tmp_path / "out" / "profile.json").provenance["link"]["key"].startswith("5g-")
    studied = cli("leakage", tiny_model, "--only", "linear_nmse")
    assert said in studied.stderr
    assert advisor.Profile.load(tmp_path / "out" / "leakage.json").provenance["leakage"]["seed"] == 7
    for command in (("profile",), ("leakage", "--only", "linear_nmse"), ("attack", "--cut", "nowhere")):
        quiet = cli(command[0], tiny_model, *command[1:], "--no-config")
        assert "advisor.toml" not in quiet.stderr
    assert said in cli("attack", tiny_model, "--cut", "nowhere").stderr
