"""The folder of an export: written beside, checked there, put in place as a whole, nothing of others touched.

An earlier export waits in a hidden folder until the new one is complete. Whenever a run is killed, the next one finds
which of the two is whole, and puts that in place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from advisor import wire
from advisor.errors import AdvisorError
from advisor.exporting.manifest import ASIDE, CODEC_FILE, EDGE_FILE, PLAN_FILE, Exported
from advisor.files import LOCKS, lock, sha256, umask, unwritable
from advisor.runtime import edge
from advisor.support.documents import read_json
from advisor.support.interrupts import held

if TYPE_CHECKING:
    from advisor.plans import Plan

PART_NAMES = {2: ("edge", "cloud"), 3: ("edge-head", "cloud", "edge-tail")}
STAGE = ".split-new-"
BESIDE = {CODEC_FILE: Path(str(wire.__file__)), EDGE_FILE: Path(str(edge.__file__))}
"""Files of ours that are copied into each export."""
_OURS = {
    f"{name}{end}" for names in PART_NAMES.values() for name in names for end in (".pt2", ".onnx", ".onnx.data")
} | {*BESIDE, PLAN_FILE}
"""Names that an export gives to files: a plan.json that lists another one was not written by us."""


def expected_files(plan: Plan, format: str) -> tuple[str, ...]:
    """Names of the files that an export of this plan writes."""
    parts = PART_NAMES[len(plan.cuts) + 1]
    return (*(f"{name}.{format}" for name in parts), *BESIDE, PLAN_FILE)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """`folder` for this process alone, put right after a killed run, and a hidden folder in it that is gone at the end.

    Raises:
        AdvisorError: when nothing can be written there, or another process is writing there.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            recover(folder)
            stage = Path(tempfile.mkdtemp(dir=folder, prefix=STAGE))
            try:
                yield stage
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    finally:
        for path in made:
            with suppress(OSError):  # an export is in it now
                path.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if not LOCKS:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not lock(handle):
            raise AdvisorError(f"Another split is writing into {folder}.", "Wait for it, or choose another --out.")
        yield
    finally:
        os.close(handle)


def earlier(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Files of an export that is already in `folder`, which a new one may replace, `plan.json` first.

    Args:
        folder: where to write; need not exist.
        names: files that will be written.

    Raises:
        AdvisorError: when a file of one of these names is there that no export wrote, or that was changed since.
    """
    listed = _listed(folder)
    own = tuple(name for name in listed if name in _OURS and _is_listed(folder, name, listed))
    own = (PLAN_FILE, *own) if listed else ()
    for name in names:
        if name not in own and os.path.lexists(folder / name):
            raise AdvisorError(
                f"{folder / name} is there already, and is not of an earlier split.", "Choose another place with --out."
            )
    return own


def put(stage: Path, folder: Path, names: Sequence[str], replaced: Sequence[str]) -> None:
    """Move the earlier export aside and the new one into place, `plan.json` last; Ctrl-C waits.

    Args:
        stage: where they were written.
        folder: where they belong, opened by `staged`.
        names: what to move, all but `plan.json`, which is moved too.
        replaced: what an earlier export left there, `plan.json` first.

    Raises:
        AdvisorError: when the folder cannot be written; the earlier export is then in place again.
    """
    aside = folder / ASIDE
    with held():
        try:
            aside.mkdir()
            for name in replaced:
                os.replace(folder / name, aside / name)
            for name in (*names, PLAN_FILE):
                os.chmod(stage / name, 0o666 & ~umask())
                os.replace(stage / name, folder / name)
        except OSError as error:
            recover(folder)
            raise unwritable(folder, error) from None
        shutil.rmtree(aside, ignore_errors=True)


def recover(folder: Path) -> None:
    """Finish what a killed run began: where its export is complete, drop the earlier one, else bring that back.

    Raises:
        AdvisorError: when somebody else's file is in the place of one of the earlier export.
    """
    aside, stages = folder / ASIDE, [path for path in folder.glob(f"{STAGE}*") if _is_folder(path)]
    if _is_folder(aside) and not _whole(folder):
        moved = {path.name for path in aside.iterdir()}
        unmoved = _listed(aside).keys() - moved  # still in its place
        for stage in stages:
            new = _listed(stage)
            for name in new.keys() & _OURS - unmoved:
                if _is_listed(folder, name, new):
                    (folder / name).unlink()
        for path in sorted(aside.iterdir(), key=lambda path: path.name == PLAN_FILE):
            if os.path.lexists(folder / path.name):
                raise AdvisorError(f"{folder / path.name} is in the way of the export in {aside}.", "Move it away.")
            os.replace(path, folder / path.name)
    for path in (*stages, aside):
        shutil.rmtree(path, ignore_errors=True)


def _is_folder(path: Path) -> bool:
    """Whether a folder is there itself: through a link, files would be taken from elsewhere."""
    return path.is_dir() and not path.is_symlink()


def _listed(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of the files that a folder's `plan.json` speaks of; none where that is no plan file."""
    try:
        return {name: entry.sha256 for name, entry in Exported.from_json(read_json(folder / PLAN_FILE)).files.items()}
    except AdvisorError:
        return {}


def _is_listed(folder: Path, name: str, listed: dict[str, str]) -> bool:
    """Whether the file is the one that is spoken of, and, where it is code, really ours."""
    path = folder / name
    if not path.is_file() or path.is_symlink() or sha256(path) != listed[name]:
        return False
    return name not in BESIDE or path.read_bytes()[:70] == BESIDE[name].read_bytes()[:70]


def _whole(folder: Path) -> bool:
    listed = _listed(folder)
    return bool(listed) and all((folder / name).is_file() and sha256(folder / name) == listed[name] for name in listed)
