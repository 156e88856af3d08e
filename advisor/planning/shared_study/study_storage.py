"""Where a study is kept: opened before anything slow begins, by several at once, and not believed."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import Study
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from advisor.errors import AdvisorError
from advisor.files import opened
from advisor.support.safe_text import without_secrets

TRIES, PAUSE = 20, 0.2
"""How often, and every how many seconds, a storage is opened that another run is just making."""

HEARTBEAT, GRACE = 15, 60
"""Seconds between two signs of life of a worker on a database, and after the last of which its trial is run again."""

CONNECT_SECONDS, BUSY_SECONDS, LOCK_SECONDS = 10, 60, 5
"""How long is waited for a database server to answer, for another run to let go of a file, and for a journal's lock,
which is held for milliseconds, before it is taken for that of a run that was killed."""

JOURNALS = (".journal", ".log", ".jsonl")
"""Endings of a file that is taken for a journal, where the storage is no URL."""

LAST_LINE = 64 * 2**20
"""Bytes of a journal's end that are looked at."""

LOST = (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError)
"""What is raised where a storage that was there cannot be read or written any more."""

SQLITE = b"SQLite format 3\0"
"""What a database of SQLite begins with."""

_BUSY = ("already exists", "UNIQUE constraint", "locked", "no such table", "duplicate key")
_DRIVERS = ("psycopg", "psycopg2")


class PatientStorage(RDBStorage):
    """A database whose heartbeat may fail: a trial whose worker lost it may be run by another, which harms nothing."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a sign of life, where the storage is there."""
        try:
            super().record_heartbeat(trial_id)
        except LOST:
            return  # it is noticed, and said, where the result is written


def open_storage(url: str | None) -> BaseStorage | None:
    """The storage of a URL, its tables made; None keeps the study in memory.

    Args:
        url: of a database, or the path of a journal file: `sqlite:///s.db`, `postgresql://user@host/name`, `s.journal`.

    Raises:
        AdvisorError: when it cannot be opened, is no database or journal, no plain file, or its driver is missing.
    """
    if url is None:
        return None
    _check_file(url)
    for attempt in range(TRIES):
        try:
            with quiet():
                storage = _opened(url)
                storage.get_all_studies()
            return storage
        except AdvisorError:
            raise
        except Exception as error:  # noqa: BLE001 - a driver raises what it likes, and may be missing
            if attempt == TRIES - 1 or not any(words in str(error) for words in _BUSY):
                raise _unusable(url, error) from None
            time.sleep(PAUSE)
    return None


def _opened(url: str) -> BaseStorage:
    journal = journal_file(url)
    if journal is not None:
        lock = JournalFileSymlinkLock(str(journal), grace_period=LOCK_SECONDS)
        _whole_lines(journal, lock)
        return JournalStorage(JournalFileBackend(str(journal), lock))
    address, options = _with_driver(url), dict[str, Any](pool_pre_ping=True)
    if address.startswith("sqlite"):
        options["connect_args"] = {"timeout": BUSY_SECONDS}
    elif address.startswith("postgresql"):
        options["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
    found = PatientStorage(
        address, options, heartbeat_interval=HEARTBEAT, grace_period=GRACE,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
    )  # fmt: skip
    return optuna.storages.get_storage(found)


def _whole_lines(journal: Path, lock: JournalFileSymlinkLock) -> None:
    """Take off a last line that is no JSON, as a full disk leaves it: what is appended behind it could not be read."""
    if not journal.exists() or not lock.acquire():
        return
    try:
        with journal.open("rb+") as file:
            start = max(0, file.seek(0, os.SEEK_END) - LAST_LINE)
            file.seek(start)
            tail = file.read()
            before, _, last = tail.removesuffix(b"\n").rpartition(b"\n")
            if (before or not start) and not (tail.endswith(b"\n") and _is_json(last)):
                file.truncate(start + len(tail) - len(last) - tail.endswith(b"\n"))
    finally:
        lock.release()


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _with_driver(url: str) -> str:
    """A URL of PostgreSQL with the driver that is installed.

    Raises:
        AdvisorError: where there is none.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        return url
    for driver in _DRIVERS:
        if importlib.util.find_spec(driver) is not None:
            return f"postgresql+{driver}://{rest}"
    raise AdvisorError(
        "PostgreSQL is not reached without a driver.", "Install one: pip install 'partition-advisor[postgresql]'"
    )


@contextmanager
def understood(storage: str) -> Iterator[None]:
    """Whatever Optuna makes of what it reads in a storage, as one line; a storage that is lost is another matter.

    Raises:
        AdvisorError: in its place.
    """
    try:
        yield
    except LOST:
        raise
    except optuna.exceptions.OptunaError as error:
        raise _unusable(storage, error) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna logs each trial, which the progress bar says better, and warns of what is experimental in it."""
    level, pool = optuna.logging.get_verbosity(), logging.getLogger("sqlalchemy.pool")
    before = pool.level
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pool.setLevel(logging.CRITICAL)  # of a connection that was lost it would print the traceback
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
        pool.setLevel(before)


def known_trials(study: Study) -> list[FrozenTrial]:
    """The trials of a study.

    Raises:
        AdvisorError: when one is not as Optuna writes it.
    """
    try:
        return study.trials
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, AssertionError) as error:
        raise AdvisorError(
            f"The storage's trials cannot be read: {error or type(error).__name__}.", "Name another --storage."
        ) from None


def attack_folder(url: str | None) -> Path | None:
    """Where attacks keep what a killed run goes on from: beside a study in a file; None for other storages."""
    path = storage_file(url)
    return None if path is None else path.with_name(f"{path.name}-attacks")


def storage_file(url: str | None) -> Path | None:
    """The file of a storage on this machine: of SQLite, or a journal; None for others."""
    journal = journal_file(url)
    if journal is not None:
        return journal
    scheme, _, path = (url or "").partition("?")[0].partition(":///")
    return Path(path) if scheme.startswith("sqlite") and path not in ("", ":memory:") else None


def journal_file(url: str | None) -> Path | None:
    """The path of a journal; None where a storage is something else."""
    scheme, _, path = (url or "").partition(":///")
    if scheme == "journal" and path:
        return Path(path)
    return Path(url) if url and "://" not in url and Path(url).suffix in JOURNALS else None


def _check_file(url: str) -> None:
    """SQLite would wait for a pipe, or for what a file of /proc has not yet; a journal is appended to any file."""
    path = storage_file(url)
    try:
        if path is None or not path.exists():
            return
        with opened(path) as file:
            start: bytes | None = file.read(len(SQLITE))
    except (OSError, ValueError) as error:
        raise _unusable(url, error) from None
    except AdvisorError as error:
        raise _unusable(url, OSError(error.problem.rstrip("."))) from None
    kind, head = ("journal of Optuna", b"{") if journal_file(url) is not None else ("database of SQLite", SQLITE)
    if start is None or (start and not start.startswith(head)):  # None: it has bytes later, as a pipe
        raise _unusable(url, OSError(f"it is no {kind}"))


def _unusable(url: str, error: Exception) -> AdvisorError:
    line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    line = f"a record has no {line}" if isinstance(error, KeyError) else line
    return AdvisorError(
        f"The storage {without_secrets(url)!r} cannot be used: {without_secrets(line[:160])}.",
        "Use for example --storage sqlite:///search.db",
    )
