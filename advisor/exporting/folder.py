"""The folder of an export: written beside, checked there, put in place as a whole, nothing of others touched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.documents import read_json
from advisor.errors import AdvisorError
from advisor.exporting.manifest import CODEC_FILE, PLAN_FILE, Exported
from advisor.files import sha256, umask, unwritable

if TYPE_CHECKING:
    from advisor.plans import Plan


PART_NAMES = {2: ("edge", "cloud"), 3: ("edge-head", "cloud", "edge-tail")}


def expected_files(plan: Plan, format: str) -> tuple[str, ...]:
    """Names of the files that an export of this plan writes."""
    parts = PART_NAMES[len(plan.cuts) + 1]
    return (*(f"{name}.{format}" for name in parts), CODEC_FILE, PLAN_FILE)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder on the same file system as `folder`, gone in any case at the end.

    Raises:
        AdvisorError: when nothing can be written there.
    """
    present = folder
    while not present.exists() and present != present.parent:
        present = present.parent
    try:
        stage = Path(tempfile.mkdtemp(dir=present, prefix=".split-"))
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def earlier(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Files of an export that is already in `folder`, which a new one may replace.

    Args:
        folder: where to write; need not exist.
        names: files that will be written.

    Raises:
        AdvisorError: when a file of one of these names is there that no export wrote, or that was changed since.
    """
    own: tuple[str, ...] = ()
    if (folder / PLAN_FILE).is_file():
        try:
            listed = Exported.from_json(read_json(folder / PLAN_FILE)).files
            present = {n: e for n, e in listed.items() if Path(n).name == n and (folder / n).is_file()}
            own = (PLAN_FILE, *(n for n, entry in present.items() if sha256(folder / n) == entry.sha256))
        except AdvisorError:
            own = ()
    for name in names:
        if name not in own and os.path.lexists(folder / name):
            raise AdvisorError(
                f"{folder / name} is there already, and is not of an earlier split.", "Choose another place with --out."
            )
    return own


def put(stage: Path, folder: Path, names: Sequence[str], replaced: Sequence[str]) -> None:
    """Move files into place, `plan.json` last: where it is, it tells the truth about the files beside it.

    Args:
        stage: where they were written.
        folder: where they belong.
        names: what to move, all but `plan.json`, which is moved too.
        replaced: what an earlier export left there.

    Raises:
        AdvisorError: when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PLAN_FILE).unlink(missing_ok=True)
        for name in (*names, PLAN_FILE):
            os.chmod(stage / name, 0o666 & ~umask())
            os.replace(stage / name, folder / name)
        for name in set(replaced) - {*names, PLAN_FILE}:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None
