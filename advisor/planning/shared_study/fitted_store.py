"""Fitted weights and studies where all workers reach them, by digest: Optuna's artifact store, a folder or S3."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Protocol

from advisor.defenses.training.fitted_files import load_variant, save_variant
from advisor.errors import AdvisorError
from advisor.files import read_bytes, write_atomically
from advisor.fitted import ENDING, FOLDER, LARGEST
from advisor.graph import PartitionGraph
from advisor.planning.shared_study.study_storage import storage_file
from advisor.request import Request
from advisor.variant import Variant

BUCKET = "s3://"


class ArtifactStore(Protocol):
    """What is asked of Optuna's artifact stores."""

    def open_reader(self, artifact_id: str):  # type: ignore[no-untyped-def]
        """The bytes of an artifact."""

    def write(self, artifact_id: str, content_body) -> None:  # type: ignore[no-untyped-def]
        """Keep an artifact."""


class _Folder:
    """Artifacts as files of a folder, which others may write to: none is a pipe, half-written, or a link that is
    followed when it is replaced, as with Optuna's own store."""

    def __init__(self, place: str) -> None:
        self.place = Path(place)
        self.place.mkdir(parents=True, exist_ok=True)

    def open_reader(self, artifact_id: str) -> io.BytesIO:
        from optuna.artifacts.exceptions import ArtifactNotFound

        if not (self.place / artifact_id).exists():
            raise ArtifactNotFound
        return io.BytesIO(read_bytes(self.place / artifact_id, LARGEST))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        write_atomically(self.place / artifact_id, content_body.read())


class FittedStore:
    """Variants by the digest of their files.

    Args:
        place: a folder, or `s3://bucket`; it is made where it is not there.

    Raises:
        AdvisorError: where it cannot be used.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._store = _opened(place)

    def keep(self, variant: Variant) -> str:
        """Write a variant, and tell its digest."""
        with tempfile.TemporaryDirectory() as folder:
            path = save_variant(variant, folder)
            self.write(path.name, path.read_bytes())
            return path.stem

    def load(self, digest: str, base: PartitionGraph) -> Variant | None:
        """The variant of a digest; None where the store does not have it. Its bytes are checked.

        Raises:
            AdvisorError: where it was changed, or is of another model.
        """
        data = self.read(f"{digest}{ENDING}")
        if data is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / FOLDER / f"{digest}{ENDING}"
            path.parent.mkdir()
            path.write_bytes(data)
            return load_variant(path, base)

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes under a name.

        Raises:
            AdvisorError: where the place takes none.
        """
        try:
            self._store.write(name, io.BytesIO(data))
        except Exception as error:
            raise _unusable(self.place, error) from error

    def read(self, name: str) -> bytes | None:
        """The bytes of a name; None where there are none.

        Raises:
            AdvisorError: where the place cannot be read.
        """
        from optuna.artifacts.exceptions import ArtifactNotFound

        try:
            with self._store.open_reader(name) as reader:
                data: bytes = reader.read(LARGEST + 1)
                return data
        except ArtifactNotFound:
            return None
        except Exception as error:
            raise _unusable(self.place, error) from error


def store_of(request: Request) -> FittedStore | None:
    """Where fits and numbers of a stored study are kept: as asked, else beside its file, else in the user's cache.

    Raises:
        AdvisorError: where that cannot be used.
    """
    search = request.search
    if search.storage is None:
        return None
    if search.artifacts is not None:
        return FittedStore(str(search.artifacts))
    file = storage_file(search.storage)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "partition-advisor" / "artifacts"
    return FittedStore(str(cache if file is None else file.with_name(f"{file.name}-artifacts")))


def _opened(place: str) -> ArtifactStore:
    try:
        if place.startswith(BUCKET):
            from optuna.artifacts import Boto3ArtifactStore

            store: ArtifactStore = Boto3ArtifactStore(place.removeprefix(BUCKET).strip("/"))
            return store
        if "://" in place:
            raise AdvisorError(f"Artifacts are not kept at {place}.", "Name a folder, or s3://bucket.")
        return _Folder(place)
    except ImportError:
        raise AdvisorError(
            "S3 is not reached without boto3.", "Install it: pip install 'partition-advisor[s3]'"
        ) from None
    except OSError as error:
        raise _unusable(place, error) from None


def _unusable(place: str, error: Exception) -> AdvisorError:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return AdvisorError(
        f"What was computed cannot be kept at {place}: {line[:160]}.", "Name another place: --artifacts."
    )
