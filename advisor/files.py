"""Atomic writes and fingerprints: nothing is half-written, and an artefact says what it was made from."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from advisor.errors import AdvisorError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises:
        AdvisorError: when the folder cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~umask())
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from None
        raise


def unwritable(path: Path, error: OSError) -> AdvisorError:
    """One line for a place that cannot be written."""
    return AdvisorError(f"Cannot write {path}: {error.strerror or error}.", "Choose another place with --out.")


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes.

    Raises:
        AdvisorError: when the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise AdvisorError(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from None
    return digest.hexdigest()


def umask() -> int:
    """The permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
