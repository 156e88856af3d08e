"""Files are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.files import check_ours, lock, read_bytes, sha256, turn, write_atomically


def test_text_and_bytes_are_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b.txt", "μ")
    write_atomically(tmp_path / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "μ".encode()
    assert (tmp_path / "c.bin").read_bytes() == b"\x00\xff"


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "atomic", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["os.replace", "os.fsync"])
def test_a_failure_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, step: str
) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"advisor.files.{step}", fail)
    expected = AdvisorError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match=r"Cannot write .*a\.json: No space left" if expected is AdvisorError else ""):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AdvisorError, match=r"Cannot write .*b: .*Choose another place with --out"):
        write_atomically(tmp_path / "file" / "b", "x")


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(AdvisorError, match="Cannot write"):
        write_atomically(tmp_path / "a.json", "x")
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_hashes_are_those_of_the_content(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_missing_file_has_no_hash(tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match=r"There is no file .*nothing"):
        sha256(tmp_path / "nothing")


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_live_one_is_not(tmp_path: Path) -> None:
    (tmp_path / ".a.json.dead0000.partial").write_text("half")
    (tmp_path / ".b.json.dead0000.partial").write_text("of another file")
    live = (tmp_path / ".a.json.live0000.partial").open("w")
    assert lock(live.fileno())
    write_atomically(tmp_path / "a.json", "whole")
    live.close()
    assert sorted(os.listdir(tmp_path)) == [".a.json.live0000.partial", ".b.json.dead0000.partial", "a.json"]


def test_private_files_are_the_owners_alone(tmp_path: Path) -> None:
    write_atomically(tmp_path / "kept" / "a.pt", b"x", private=True)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "kept", tmp_path / "kept" / "a.pt")]
    assert modes == [0o700, 0o600]


def test_only_what_is_ours_may_be_replaced(tmp_path: Path) -> None:
    path, precious = tmp_path / "a.json", tmp_path / "precious"
    check_ours(path, lambda data: False)
    path.touch()
    check_ours(path, lambda data: False)  # empty: nothing is lost
    path.write_text("mine")
    precious.write_text("mine")
    (tmp_path / "link.json").symlink_to(precious)
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere")
    check_ours(path, lambda data: data == b"mine")
    for name in ("a.json", "link.json"):
        with pytest.raises(AdvisorError, match=r"is there, and advisor did not write it\. Choose another place"):
            check_ours(tmp_path / name, lambda data: False)
    with pytest.raises(AdvisorError, match="cannot be replaced: There is no file"):
        check_ours(tmp_path / "dangling.json", lambda data: True)


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert read_bytes(tmp_path / "a", 100) == b"x" * 100
    with pytest.raises(AdvisorError, match="is larger than"):
        read_bytes(tmp_path / "a", 99)


def test_two_that_change_one_file_wait_for_each_other(tmp_path: Path) -> None:
    """Each adds a line to what it read; without a turn the later one would undo the other."""
    file, children = tmp_path / "log", []
    file.write_text("")
    for number in range(4):
        child = os.fork()
        if not child:
            with turn(tmp_path):
                held = file.read_text()
                time.sleep(0.1)
                write_atomically(file, f"{held}{number}\n")
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert sorted(file.read_text().split()) == ["0", "1", "2", "3"]


def test_a_turn_that_does_not_come(tmp_path: Path) -> None:
    with (
        turn(tmp_path),
        pytest.raises(AdvisorError, match=r"Another command is writing into .*Wait for it"),
        turn(tmp_path, patience=0.1),
    ):
        pass
