"""A stranger's advice names code, machines, files: nothing of it is run, called, opened or written."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import advisor
from advisor.request import Request
from tests.conftest import Run, tiny_net

Edit = Callable[[Any], None]


@pytest.fixture(scope="module")
def answered(tiny_model: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An advice about files in a folder `got`, as plain JSON."""
    advice = advisor.recommend(tiny_model, data=tiny_data, trials=2, verify="none")
    text = json.dumps(advice.to_json())
    for path, name in ((tiny_model, "got/m.pt2"), (tiny_data, "got/d.npz")):
        text = text.replace(json.dumps(str(path)), json.dumps(name))
    return json.loads(text)


@pytest.fixture
def strange(answered: Any, tiny_model: Path, tiny_data: Path, tmp_path: Path) -> Callable[..., Path]:
    """A folder with an advice whose record was edited, its model and data beside it."""
    folder, plain = tmp_path / "got", answered
    folder.mkdir()
    shutil.copy(tiny_model, folder / "m.pt2")
    shutil.copy(tiny_data, folder / "d.npz")

    def make(edit: Edit) -> Path:
        edited = json.loads(json.dumps(plain))
        edit(edited)
        edited["provenance"]["command"] = Request.from_json(edited["request"]).command()
        (folder / "advice.json").write_text(json.dumps(edited))
        return folder

    return make


def requested(part: str, **values: object) -> Edit:
    return lambda advice: advice["request"][part].update(values)


def modelled(**values: object) -> Edit:
    return lambda advice: advice["provenance"].update(model=values)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (requested("model", arch="os:system('touch PWNED')"), "--arch .* which names code"),
        (requested("target", device="ssh://x?config=got/c"), "--device .* which names a machine or a file"),
        (requested("target", cloud="got/d.toml"), "--cloud .* which names a machine or a file"),
        (requested("target", link="trace=/dev/zero"), "--link .* which names a file"),
        (requested("target", profile="/dev/zero"), "--profile .* which names a file"),
    ],
)
def test_code_machines_and_files_are_asked_for_again(
    strange: Callable[..., Path], cli: Run, tmp_path: Path, edit: Edit, reason: str
) -> None:
    folder = strange(edit)
    result = cli("recommend", "--from", folder, "--out", "mine")
    assert result.exit_code == 2, result.output
    assert re.search(reason, result.stderr), result.stderr
    assert not (tmp_path / "PWNED").exists()
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("command", [("split",), ("attack",)])
def test_split_and_attack_build_with_no_recorded_code(
    strange: Callable[..., Path], cli: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    torch.save(tiny_net().state_dict(), tmp_path / "got" / "sd.pt")
    from advisor.files import sha256

    folder = strange(requested("model", arch="os:system('touch PWNED')"))
    edited = json.loads((folder / "advice.json").read_text())
    edited["provenance"]["model"] = {"path": "got/sd.pt", "sha256": sha256(tmp_path / "got" / "sd.pt")}
    (folder / "advice.json").write_text(json.dumps(edited))
    result = cli(*command, folder)
    assert result.exit_code == 2, result.output
    assert "Name the function that builds the model, as --arch" in result.stderr
    assert not (tmp_path / "PWNED").exists()


def test_a_recorded_storage_is_not_written(strange: Callable[..., Path], cli: Run, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    folder = strange(requested("search", storage="sqlite:///victim/notes.db"))
    result = cli("recommend", "--from", folder, "--verify", "none", "--out", "mine")
    assert result.exit_code == 0, result.output
    assert "--storage sqlite:///victim/notes.db of the advice is not taken from a file" in result.stderr
    assert os.listdir(tmp_path / "victim") == []


@pytest.mark.parametrize("command", [("recommend", "--from"), ("split",), ("attack",)])
def test_the_recorded_model_is_checked_for_code_then_for_its_hash(
    strange: Callable[..., Path], cli: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    torch.save(tiny_net(), tmp_path / "got" / "evil.pt")
    unsafe = cli(*command, strange(modelled(path="got/evil.pt")))
    assert unsafe.exit_code == 4, unsafe.output
    other = cli(*command, strange(modelled(path="got/m.pt2", sha256="0" * 64)))
    assert other.exit_code == 2, other.output
    assert "is not surely the model of this advice (another SHA-256)" in other.stderr
    none = cli(*command, strange(modelled(path="got/m.pt2")))
    assert none.exit_code == 2, none.output
    assert "records no SHA-256" in none.stderr


@pytest.mark.parametrize("command", [("recommend", "--from"), ("split",), ("attack",)])
def test_what_is_no_plain_file_is_not_opened(
    strange: Callable[..., Path], cli: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    os.mkfifo(tmp_path / "got" / "pipe")
    for path, reason in (("/dev/zero", "is no plain file"), ("got/pipe", "is no plain file"), ("gone", "no longer at")):
        result = cli(*command, strange(modelled(path=path, sha256="0" * 64)))
        assert result.exit_code == 2, result.output
        assert reason in result.stderr


def test_recorded_data_must_be_the_same_bytes(strange: Callable[..., Path], cli: Run, tmp_path: Path) -> None:
    folder = strange(requested("data", data="/dev/zero"))
    endless = cli("recommend", "--from", folder, "--out", "mine")
    assert endless.exit_code == 2, endless.output
    assert "recorded data /dev/zero is no plain file. Name it with --data." in endless.stderr
    (tmp_path / "two words").mkdir()
    images = cli("recommend", "--from", strange(requested("data", data="two words")), "--out", "mine")
    assert images.exit_code == 2, images.output
    assert "were a folder, two words, of which no hash is recorded. Name it again: --data 'two words'." in images.stderr
    folder = strange(lambda advice: None)
    (tmp_path / "got" / "d.npz").write_bytes((tmp_path / "got" / "d.npz").read_bytes() + b"\0")
    other = cli("recommend", "--from", folder, "--out", "mine")
    assert other.exit_code == 2, other.output
    assert "is not what the advice was made from (another SHA-256)" in other.stderr


def test_files_beside_a_moved_advice_are_found_and_said(strange: Callable[..., Path], cli: Run, tmp_path: Path) -> None:
    def beside(advice: Any) -> None:
        advice["request"]["model"]["model"] = advice["provenance"]["model"]["path"] = "m.pt2"
        advice["request"]["data"]["data"] = "d.npz"

    folder = strange(beside).rename(tmp_path / "moved")
    result = cli("recommend", "--from", folder, "--out", "mine")
    assert result.exit_code == 0, result.output
    assert f"Note: model {folder / 'm.pt2'}, as the advice records." in result.stderr
    assert f"Note: data from {folder / 'd.npz'}, as the advice records." in result.stderr


def test_an_edited_command_is_not_believed(strange: Callable[..., Path], cli: Run) -> None:
    folder = strange(lambda advice: None)
    edited = json.loads((folder / "advice.json").read_text())
    edited["provenance"]["command"] += " --profile /dev/zero"
    (folder / "advice.json").write_text(json.dumps(edited))
    result = cli("recommend", "--from", folder, "--out", "mine")
    assert result.exit_code == 2, result.output
    assert "contradicts itself: its command is not that of its request" in result.stderr


def test_advice_of_an_earlier_version_is_read(
    strange: Callable[..., Path], cli: Run, tiny_model: Path, tiny_data: Path
) -> None:
    folder = strange(lambda advice: None)
    old = json.loads((folder / "advice.json").read_text())
    del old["request"]
    (folder / "advice.json").write_text(json.dumps(old))
    assert advisor.load_advice(folder).request is None
    refused = cli("recommend", "--from", folder, "--out", "mine")
    assert refused.exit_code == 2
    assert "does not say where its data are. Name them with --data." in refused.stderr
    again = cli("recommend", tiny_model, "--data", tiny_data, "--from", folder, "--out", "mine")
    assert again.exit_code == 0, again.output
    assert "Leakage was taken from the earlier advice" in " ".join(advisor.load_advice("mine").assumptions)


def test_a_refusal_prints_the_users_own_command_with_trust(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(tiny_net(), tmp_path / "my model.pt")
    monkeypatch.setattr("sys.argv", ["advisor", "profile", "my model.pt", "--link", "lte"])
    refused = cli("profile", "my model.pt", "--link", "lte")
    assert refused.exit_code == 4
    assert "If you trust whoever made it: advisor profile --trust 'my model.pt' --link lte" in refused.stderr
