"""Artifacts of a study: in a folder, and in S3 as a server in memory speaks it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.planning.shared_study.fitted_store import FittedStore

BUCKET = "advisor-artifacts"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto.mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FittedStore:
    return FittedStore(str(tmp_path / "new") if request.param == "folder" else request.getfixturevalue("bucket"))


def test_bytes_come_back_and_what_is_not_there_is_none(store: FittedStore) -> None:
    store.write("a.json", b"numbers")
    store.write("a.json", b"numbers again")
    assert store.read("a.json") == b"numbers again"
    assert FittedStore(store.place).read("a.json") == b"numbers again"
    assert store.read("b.json") is None


def test_a_bucket_that_is_not_there_is_one_line(bucket: str) -> None:
    with pytest.raises(
        AdvisorError, match=r"What was computed cannot be kept at s3://elsewhere-1: .*Name another place: --art"
    ):
        FittedStore("s3://elsewhere-1").write("a.json", b"")


def test_a_place_of_another_kind_is_refused() -> None:
    with pytest.raises(AdvisorError, match=r"Artifacts are not kept at ftp://host.*Name a folder, or s3://bucket"):
        FittedStore("ftp://host")


def test_a_link_in_a_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """Whoever may write to the folder could have put it there."""
    own = tmp_path / "own.txt"
    own.write_bytes(b"the user's")
    store = FittedStore(str(tmp_path / "shared"))
    (tmp_path / "shared" / "a.json").symlink_to(own)
    store.write("a.json", b"numbers")
    assert (own.read_bytes(), store.read("a.json")) == (b"the user's", b"numbers")


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    store = FittedStore(str(tmp_path))
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(AdvisorError, match="a pipe, socket or device"):
        store.read("a.json")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FittedStore(str(tmp_path))
    store.write("a.json", b"numbers")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AdvisorError, match="No space left on device"):
        store.write("a.json", b"other")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert store.read("a.json") == b"numbers"
