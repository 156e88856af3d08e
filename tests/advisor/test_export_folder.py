"""The folder of an export: killed at any step, claimed by strangers, used by two at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
from hashlib import sha256
from pathlib import Path

import pytest

import advisor
from advisor.errors import AdvisorError
from advisor.exporting import folder as module
from advisor.exporting.folder import STAGE, earlier, put, staged
from advisor.exporting.manifest import ASIDE, PLAN_FILE
from tests.advisor.exported_once import exported
from tests.conftest import tree


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two exports of one model at different cuts."""
    folders = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    for path, cut in zip(folders, ("silu", "linear"), strict=True):
        exported(cut, path)
    return folders


def replace(folder: Path, new: Path) -> None:
    """What `export` does, the files being there already."""
    names = [path.name for path in new.iterdir() if path.name != PLAN_FILE]
    with staged(folder) as stage:
        shutil.copytree(new, stage, dirs_exist_ok=True)
        put(stage, folder, names, earlier(folder, [*names, PLAN_FILE]))


def killed_at(step: int, folder: Path, new: Path) -> bool:
    """Replace an export in a process that is killed before its `step`th move; False where it had fewer."""
    child = os.fork()
    if not child:
        moved, move = iter(range(99)), os.replace

        def replacing(source: Path, target: Path) -> None:
            if next(moved) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            move(source, target)

        module.os.replace = replacing
        replace(folder, new)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def test_killed_at_any_move_the_next_run_finds_the_earlier_export_or_the_new_one(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = tree(two[0]), tree(two[1])
    for step in range(11):
        folder = tmp_path / str(step)
        shutil.copytree(two[0], folder)
        (folder / "notes.txt").write_text("mine")
        if not killed_at(step, folder, two[1]):
            break
        with staged(folder):
            pass
        found = tree(folder)
        assert found.pop("notes.txt") == b"mine"
        assert found in (old, new), f"killed at step {step}"
        replace(folder, two[1])
        assert tree(folder) == new | {"notes.txt": b"mine"}
    assert step == 10  # five files go aside, five come


def test_a_full_disk_brings_the_earlier_export_back(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, move = tmp_path / "f", os.replace
    shutil.copytree(two[0], folder)

    def full(source: Path, target: Path) -> None:
        if Path(source).parent.name.startswith(module.STAGE) and target.name == "wire.py":
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr("advisor.exporting.folder.os.replace", full)
    with pytest.raises(AdvisorError, match=r"Cannot write .*No space left on device"):
        replace(folder, two[1])
    assert tree(folder) == tree(two[0])


def test_a_file_that_only_a_stranger_s_plan_lists_stays(two: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "f"
    shutil.copytree(two[0], folder)
    (folder / "thesis.txt").write_text("my work")
    (folder / "wire.py").write_text("my own codec")
    plan = json.loads((folder / PLAN_FILE).read_text())
    for name in ("thesis.txt", "wire.py"):
        data = (folder / name).read_bytes()
        plan["files"][name] = {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
    (folder / PLAN_FILE).write_text(json.dumps(plan))
    with pytest.raises(AdvisorError, match=r"wire\.py is there already"):
        replace(folder, two[1])
    shutil.copy(two[0] / "wire.py", folder / "wire.py")
    plan["files"].pop("wire.py")
    (folder / PLAN_FILE).write_text(json.dumps(plan))
    (folder / "wire.py").unlink()
    replace(folder, two[1])
    assert tree(folder) == tree(two[1]) | {"thesis.txt": b"my work"}


def test_two_at_once(two: tuple[Path, Path], tmp_path: Path) -> None:
    with staged(tmp_path / "f"), pytest.raises(AdvisorError, match="Another split is writing into"):
        replace(tmp_path / "f", two[0])
    assert not (tmp_path / "f").exists()
    replace(tmp_path / "f", two[0])
    assert advisor.load_export(tmp_path / "f").cuts == ("silu",)


def test_a_link_in_place_of_the_earlier_export_moves_nothing(two: tuple[Path, Path], tmp_path: Path) -> None:
    """A stranger's folder may hold one that leads to the user's own files."""
    own, folder = tmp_path / "own", shutil.copytree(two[0], tmp_path / "folder")
    own.mkdir()
    (own / "thesis.tex").write_text("years of work")
    (folder / "edge.pt2").unlink()  # no export is whole here, so that an earlier one would be brought back
    (folder / ASIDE).symlink_to(own)
    (folder / f"{STAGE}x").symlink_to(own)
    before = tree(own)
    with pytest.raises(AdvisorError):
        replace(folder, two[1])
    assert tree(own) == before
    assert not (folder / "thesis.tex").exists()
