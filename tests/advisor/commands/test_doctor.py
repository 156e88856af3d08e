"""`advisor doctor` says what is there, what is missing and how to get it, and fails only where nothing would run."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from advisor.commands.support import machine
from tests.conftest import Run


def rows(cli: Run, code: int = 0) -> dict[str, dict[str, str]]:
    result = cli("doctor", "--json")
    assert result.exit_code == code, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


def test_what_is_installed_is_named_with_its_version(cli: Run) -> None:
    found = rows(cli)
    assert found["torch"]["found"] == version("torch")
    assert found["partition-advisor"]["found"].startswith(version("partition-advisor"))
    assert "threads" in found["this CPU"]["found"]
    text = cli("doctor").stdout
    assert "What this machine can measure" in text
    assert f"ok       torch: {version('torch')}" in text


def test_what_is_missing_says_how_to_get_it(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_onnx(name: str) -> str:
        if name.startswith("onnx"):
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(machine, "version", no_onnx)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    found = rows(cli)
    assert (found["onnx"]["state"], found["onnx"]["get"]) == ("missing", "pip install 'partition-advisor[onnx]'")
    assert (found["ssh"]["state"], found["ssh"]["get"]) == ("missing", "install OpenSSH's client")
    assert all(row["get"] for row in found.values() if row["state"] != "ok")


def test_without_torch_nothing_runs(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        if name == "optuna":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(machine, "version", nothing)
    assert rows(cli, code=2)["optuna"]["state"] == "wrong"


def test_settings_are_shown_or_what_is_wrong_with_them(cli: Run, tmp_path: Path) -> None:
    assert rows(cli)["defaults"]["state"] == "missing"
    (tmp_path / "advisor.toml").write_text('link = "lte"\n')
    assert rows(cli)["defaults"]["found"] == "advisor.toml sets link"
    (tmp_path / "advisor.toml").write_text('arch = "os:system"\n')
    assert "may not be set by a file" in rows(cli, code=2)["defaults"]["found"]
