"""Files: read only where they are plain files of a sane size, written whole or not at all, replaced only where ours."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from advisor.errors import AdvisorError
from advisor.support.interrupts import held

if find_spec("fcntl"):
    import fcntl
LOCKS = "fcntl" in globals()
"""Not on Windows: what a killed run left there stays."""

PARTIAL = ".partial"
PATIENCE = 60.0
"""Seconds to wait while another process writes two files."""
LARGEST = 256 * 2**20
"""Bytes of a document (JSON, TOML, CSV): an advice with many pictures has a tenth of that."""

IsOurs = Callable[[bytes], bool]


class RecordedPath(str):
    """A path that was read from a file: whoever opens it holds the bytes that it reads against the recorded hash.

    Attributes:
        sha256: hex, of the bytes.
    """

    sha256: str

    def __new__(cls, path: str, sha256: str) -> RecordedPath:
        """The path as text."""
        made = super().__new__(cls, path)
        made.sha256 = sha256
        return made


# ---- reading -------------------------------------------------------------------------------------------------------


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """A plain file, to read; a pipe, a device or a folder is refused before it can block or never end.

    Raises:
        AdvisorError: when there is none, or it cannot be read.
    """
    try:
        _check_plain(path, os.stat(path).st_mode)  # opening a device may already do something
        with os.fdopen(os.open(path, os.O_RDONLY | _flag("O_NONBLOCK") | _flag("O_BINARY")), "rb") as file:
            _check_plain(path, os.fstat(file.fileno()).st_mode)
            yield file
    except FileNotFoundError:
        raise AdvisorError(f"There is no file {path}.", "Check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise AdvisorError(f"Cannot read {path}: {reason}.", "Check the path.") from None


def read_bytes(path: str | Path, largest: int = LARGEST) -> bytes:
    """All bytes of a plain file.

    Raises:
        AdvisorError: when it cannot be read, or holds more than `largest` bytes.
    """
    chunks, size = [], 0
    with opened(path) as file:
        while chunk := file.read(1 << 20):  # a read of all that is allowed would reserve the memory for it
            chunks.append(chunk)
            size += len(chunk)
            if size > largest:
                raise AdvisorError(f"{path} is larger than {largest / 2**20:g} MiB.", "Name another file.")
    return b"".join(chunks)


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes.

    Raises:
        AdvisorError: when the file cannot be read.
    """
    digest = hashlib.sha256()
    with opened(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_plain(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise AdvisorError(f"{path} is {kind}, not a file.", "Name a file.")


def _flag(name: str) -> int:
    return int(getattr(os, name, 0))


# ---- writing -------------------------------------------------------------------------------------------------------


def write_atomically(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Args:
        path: whatever is there is replaced: see `check_ours`.
        content: text becomes UTF-8.
        private: nobody but the owner may read the file, nor the folder where that is made.

    Raises:
        AdvisorError: when the folder cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with held():
        temporary = ""
        try:
            _make_folder(path.parent, 0o700 if private else 0o777)
            _remove_leftovers(path)
            handle, temporary = _partial(path)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(temporary, 0o600 if private else 0o666 & ~umask())
                os.replace(temporary, path)
        except BaseException as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            if isinstance(error, OSError | ValueError):
                raise unwritable(path, error) from None
            raise


def check_ours(path: Path, is_ours: IsOurs) -> None:
    """Refuse to replace a file that this program did not write; an empty one has nothing to lose.

    Raises:
        AdvisorError: when something else is there.
    """
    if not os.path.lexists(path):
        return
    try:
        data = read_bytes(path)
    except AdvisorError as error:
        raise AdvisorError(f"{path} cannot be replaced: {error.problem}", "Choose another place with --out.") from None
    if data and not is_ours(data):
        raise AdvisorError(f"{path} is there, and advisor did not write it.", "Choose another place with --out.")


def replace_ours(path: Path, content: str, is_ours: IsOurs, *, private: bool = False) -> None:
    """Write a file atomically, unless one that is not ours is in its place.

    Raises:
        AdvisorError: as `check_ours` and `write_atomically`.
    """
    check_ours(path, is_ours)
    write_atomically(path, content, private=private)


def unwritable(path: Path, error: OSError | ValueError) -> AdvisorError:
    """One line for a place that cannot be written."""
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return AdvisorError(f"Cannot write {path}: {reason}.", "Choose another place with --out.")


def umask() -> int:
    """The permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


# ---- what killed runs left -----------------------------------------------------------------------------------------


def lock(handle: int) -> bool:
    """Whether this process has a file or folder for itself until it closes it or ends, however it ends."""
    if not LOCKS:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def turn(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """A folder's files for this process alone while they are read, changed and written; others wait for their turn.

    Args:
        folder: must exist.
        patience: seconds to wait for it.

    Raises:
        AdvisorError: when another process keeps it for longer.
    """
    if not LOCKS:
        yield
        return
    handle, end = os.open(folder, os.O_RDONLY), time.monotonic() + patience
    try:
        while not lock(handle):
            if time.monotonic() > end:
                raise AdvisorError(f"Another command is writing into {folder}.", "Wait for it, then run this again.")
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _make_folder(folder: Path, mode: int) -> None:
    """With all that is missing above it, which `mkdir` alone would make with the usual mode."""
    if not folder.is_dir():
        _make_folder(folder.parent, mode)
        folder.mkdir(mode=mode, exist_ok=True)


def _partial(path: Path) -> tuple[int, str]:
    """A new file beside `path`, locked for as long as this process writes it."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=PARTIAL)
        lock(handle)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # another run took it for a leftover before it was locked


def _remove_leftovers(path: Path) -> None:
    """Remove what runs that were killed while they wrote `path` left: nobody holds its lock any more."""
    if not LOCKS:
        return
    with os.scandir(path.parent) as entries:
        left = [e.path for e in entries if e.name.startswith(_prefix(path)) and e.name.endswith(PARTIAL)]
    for name in left:
        try:
            handle = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # gone meanwhile, or another user's
        try:
            if lock(handle):
                Path(name).unlink(missing_ok=True)
        finally:
            os.close(handle)


def _prefix(path: Path) -> str:
    return f".{path.name[:100]}."
