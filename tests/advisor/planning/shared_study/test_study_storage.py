"""Storages that are damaged, foreign, or made by several runs at once."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from advisor.errors import AdvisorError
from advisor.planning.shared_study import study_storage
from advisor.planning.shared_study.study_storage import known_trials, open_storage

OPEN = "import sys; from advisor.planning.shared_study.study_storage import open_storage; open_storage(sys.argv[1])"


def test_two_first_users_of_one_file_both_get_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    runs = [subprocess.Popen([sys.executable, "-c", OPEN, url], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        assert run.communicate()[1] == ""
        assert run.returncode == 0
    tables = sqlite3.connect(tmp_path / "s.db").execute("select count(*) from version_info").fetchone()
    assert tables == (1,)


@pytest.mark.parametrize("kind", ["text", "pipe", "folder", "device", "no driver", "nowhere"])
def test_what_is_no_storage_is_one_line(kind: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database\n" * 99)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    urls = {"device": "sqlite:////dev/zero", "no driver": "nosuch://u:secret@h/x", "nowhere": "sqlite:////no/such/s.db"}
    with pytest.raises(AdvisorError, match=r"^The storage '.*' cannot be used: .*") as error:
        open_storage(urls.get(kind, f"sqlite:///{tmp_path / kind}"))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("scheme", ["sqlite:///", "journal:///"])
def test_a_file_is_looked_at_before_a_library_reads_it_without_end(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database\n" * 99)
    with pytest.raises(AdvisorError, match=r"it is no (database of SQLite|journal of Optuna)"):
        open_storage(f"{scheme}{tmp_path / 'text'}")


def test_a_file_that_has_its_bytes_later_is_no_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/kmsg, which looks like a plain file."""

    class Later(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return None  # type: ignore[return-value]

    (tmp_path / "s.db").touch()
    monkeypatch.setattr(study_storage, "opened", lambda path: contextlib.nullcontext(Later()))
    with pytest.raises(AdvisorError, match="it is no database of SQLite"):
        open_storage(f"sqlite:///{tmp_path / 's.db'}")


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("update trial_user_attributes set value_json = ?", "{{{"),
        ("update trial_values set value = 1.0, value_type = ?", "INF_POS"),
        ("update trial_user_attributes set value_json = ?", "[" * 100_000),
        ("update trial_params set distribution_json = ?", '{"name": "os.system", "attributes": {}}'),
    ],
)
def test_trials_that_optuna_did_not_write_are_one_line(change: str, value: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    study = optuna.create_study(storage=open_storage(url), study_name="s")
    trial = study.ask({"a": optuna.distributions.FloatDistribution(0, 1)})
    trial.set_user_attr("plan", {})
    study.tell(trial, 1.0)
    with sqlite3.connect(tmp_path / "s.db") as database:
        database.execute(change, (value,))
    with pytest.raises(AdvisorError, match=r"^The storage's trials cannot be read: "):
        known_trials(optuna.load_study(storage=open_storage(url), study_name="s"))


@pytest.mark.parametrize("cut_off", [b'{"op_code": 4, "study_id', b'{"op_code": 4, "wo\n', b"\x00\x00", b""])
def test_a_journal_whose_last_line_was_cut_off_goes_on_behind_the_line_before(tmp_path: Path, cut_off: bytes) -> None:
    path = tmp_path / "s.journal"
    for name in ("first", "second"):
        optuna.create_study(storage=open_storage(str(path)), study_name=name)
    whole = path.read_bytes()
    path.write_bytes(whole + cut_off)
    storage = open_storage(str(path))
    assert path.read_bytes() == whole
    optuna.create_study(storage=storage, study_name="third")
    again = open_storage(str(path))
    assert again is not None
    assert [study.study_name for study in again.get_all_studies()] == ["first", "second", "third"]
    assert not path.with_name(f"{path.name}.lock").exists()
