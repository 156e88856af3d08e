"""Where a study is kept: opened before anything slow begins, by several at once, and not believed."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial
from sqlalchemy.exc import SQLAlchemyError

from advisor.errors import AdvisorError

TRIES, PAUSE = 20, 0.2
"""How often, and every how many seconds, a storage is opened that another run is just making."""

_BUSY = ("already exists", "UNIQUE constraint", "locked", "no such table", "duplicate key")


def open_storage(url: str | None) -> BaseStorage | None:
    """The storage of a URL, its tables made; None keeps the study in memory.

    Raises:
        AdvisorError: when it cannot be opened, is no database, or no plain file.
    """
    if url is None:
        return None
    _check_file(url)
    for attempt in range(TRIES):
        try:
            with quiet():
                storage = RDBStorage(url)
                storage.get_all_studies()
            return storage
        except Exception as error:  # noqa: BLE001 - a driver raises what it likes, and may be missing
            if attempt == TRIES - 1 or not any(words in str(error) for words in _BUSY):
                raise _unusable(url, error) from None
            time.sleep(PAUSE)
    return None


@contextmanager
def understood(storage: str) -> Iterator[None]:
    """Whatever a storage raises while it is read or written, as one line.

    Raises:
        AdvisorError: in its place.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise _unusable(storage, error) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna logs each trial; the progress bar says it better."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def try_once(study: Study, objective: Callable[[Trial], Sequence[float]]) -> None:
    """One trial; one that another run on the same storage took and finished meanwhile is left to that."""
    try:
        study.optimize(objective, n_trials=1)
    except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
        if isinstance(error, ValueError) and "Cannot tell" not in str(error):
            raise


def known_trials(study: Study) -> list[FrozenTrial]:
    """The trials of a study.

    Raises:
        AdvisorError: when one is not as Optuna writes it.
    """
    try:
        return study.trials
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise AdvisorError(f"The storage's trials cannot be read: {error}.", "Name another --storage.") from None


def strange_trial(number: int, error: Exception) -> AdvisorError:
    """A trial that we could not have written."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return AdvisorError(f"The storage's trial {number} is not one of advisor: {line[:160]}.", "Name another --storage.")


def attack_folder(url: str | None) -> Path | None:
    """Where attacks keep what a killed run goes on from: beside a study in an SQLite file; None for other storages."""
    path = _sqlite_file(url)
    return None if path is None else path.with_name(f"{path.name}-attacks")


def _sqlite_file(url: str | None) -> Path | None:
    scheme, _, path = (url or "").partition("?")[0].partition(":///")
    return Path(path) if scheme.startswith("sqlite") and path not in ("", ":memory:") else None


def _check_file(url: str) -> None:
    """SQLite would wait for a pipe, and read a device."""
    path = _sqlite_file(url)
    try:
        strange = path is not None and path.exists() and not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise _unusable(url, error) from None
    if strange:
        raise _unusable(url, OSError("it is no plain file"))


def _unusable(url: str, error: Exception) -> AdvisorError:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return AdvisorError(
        f"The storage {url!r} cannot be used: {line[:160]}.", "Use for example --storage sqlite:///search.db"
    )
