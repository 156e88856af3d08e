"""What a study on a storage is about: the content of files that a request names, wherever they lie."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from advisor.planning.preparing.study_identity import identity
from advisor.request import Request

PREPARED: Any = SimpleNamespace(
    graph=SimpleNamespace(digest="0", cuts=()), roles=SimpleNamespace(fingerprints={"validation": "1"})
)
NAMED = {"profile": "{}", "device": "{}.toml:board", "cloud": "{}.toml", "link": "trace={},compress=zlib"}


def target(**named: str) -> Any:
    return identity(Request.of(model="m.pt2", **named), PREPARED)["request"]["target"]


def file_at(folder: Path, content: str) -> str:
    folder.mkdir(exist_ok=True)
    for ending in ("", ".toml"):
        (folder / f"f{ending}").write_text(content)
    return str(folder / "f")


@pytest.mark.parametrize("keyword", NAMED)
def test_a_file_counts_by_its_content_and_not_by_its_path(keyword: str, tmp_path: Path) -> None:
    def told(place: str, content: str) -> Any:
        return target(**{keyword: NAMED[keyword].format(file_at(tmp_path / place, content))})

    first = told("here", "speed = 1")
    assert first == told("there", "speed = 1")
    assert first != told("here", "speed = 2")
    assert str(tmp_path) not in str(first)


def test_what_is_no_file_counts_as_it_is() -> None:
    assert target(device="jetson", link="bandwidth=2Mbps,rtt=20ms")["link"] == "bandwidth=2Mbps,rtt=20ms"
    assert target(device="jetson")["profile"] is None
    assert target(device="jetson") != target(device="raspberry-pi-4b")
