"""JSON and TOML of strangers: what we could not have written is refused in one line."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.support.documents import as_text, holds, parse_json, parse_toml, read_json


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 100 + "]" * 100, "levels deep"),
        ("9" * 5000, "5000 digits"),
        (str(2**63), "beyond 64 bits"),
        ("1e999", "too large a number"),
        ("NaN", "NaN is no JSON"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        (r'["\ud800"]', "UTF-8"),
        (r'{"\udfff": 1}', "UTF-8"),
        ("{", "Expecting property name"),
    ],
)
def test_odd_json(text: str, reason: str) -> None:
    with pytest.raises(AdvisorError, match=f"^x.json is not readable JSON: .*{reason}"):
        parse_json(text, "x.json")


def test_plain_json_is_what_it_says() -> None:
    assert parse_json(b'{"a": [1, 2.5, null, "\\u00b2", -9223372036854775807]}', "x") == {
        "a": [1, 2.5, None, "²", -9223372036854775807]
    }


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 100_000, "x = " + "{a=" * 5000, "x = " + "9" * 5000, "\0", "a" + ".a" * 30_000 + " = 1", "x"],
)
def test_odd_toml(text: str) -> None:
    with pytest.raises(AdvisorError, match=r"^x.toml is no readable TOML: "):
        parse_toml(text.encode(), "x.toml")


@pytest.mark.parametrize("place", ["/dev/zero", "pipe", "folder", "loop", "nul\0"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(place: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(AdvisorError, match=r"is a pipe, socket or device|is a folder|Cannot read"):
        read_json(tmp_path / place)


def test_a_file_is_ours_when_it_validates() -> None:
    def only_lists(value: object) -> None:
        if not isinstance(value, list):
            raise AdvisorError("no list")

    assert holds(only_lists)(b"[1]")
    assert not holds(only_lists)(b"{}")
    assert not holds(only_lists)(b"[1")


@pytest.mark.parametrize("value", [{}, [], 1.5, "a", {"a": []}, [[1, 2], {"b": {"c": [{"d": 1}]}}], None])
def test_text_reads_back(value: object) -> None:
    assert json.loads(as_text(value)) == value


def test_text_has_a_line_a_member_and_is_little_longer_than_it_must_be() -> None:
    value = {"plans": [{"cut": str(i), "found": {"value": [0.1] * 20}} for i in range(50)], "profile": {"a": [1] * 100}}
    text, shortest = as_text(value), json.dumps(value, separators=(",", ":"))
    assert len(text) < 1.05 * len(shortest)
    assert len(text.splitlines()) > 100
    other = as_text({**value, "profile": {"a": [2] * 100}})
    changed = [pair for pair in zip(text.splitlines(), other.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1


def test_a_key_that_is_there_twice_is_found_in_one_pass() -> None:
    text = "{" + ",".join(f'"{n}":1' for n in range(200_000)) + ',"7":1}'
    before = time.process_time()
    with pytest.raises(AdvisorError, match="the key '7' is there twice"):
        parse_json(text, "it")
    assert time.process_time() - before < 20
