"""What a stranger wrote is shown without being obeyed, and no secret is shown."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.support.safe_text import LONGEST, one_line, shell_words, without_secrets

NASTY = [
    "a;touch x",
    "$(touch x)",
    "it's",
    "two  blanks",
    "tab\there",
    "new\nline",
    "\x1b[31mred",
    "é ü",
    "*",
    "-d",
    "‮x",
]


@pytest.mark.parametrize("word", NASTY)
def test_a_shell_reads_the_same_words_and_nothing_is_hidden(word: str) -> None:
    line = shell_words(["printf", "%s", word])
    assert line.isprintable()
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout == word.encode()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:pw@host/db?sslkey=k", "postgresql://***@host/db?***"),
        ("postgresql://u:p?w@host/db", "postgresql://***@host/db"),
        ("https://token@host/x?sig=1#part", "https://***@host/x?***"),
        ("ssh://pi@board?python=/usr/bin/python3", "ssh://pi@board?***"),
        ("ssh://pi:pw@board", "ssh://***@board"),
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
        ("a 'mysql://u:p@h/d', b", "a 'mysql://***@h/d', b"),
    ],
)
def test_secrets_of_a_url_are_cut(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_a_message_is_one_short_line() -> None:
    line = one_line("first\n\x1b[2J‮" + "x" * 5_000_000)
    assert line.startswith("first \\x1b[2J\\u202ex")
    assert len(line) < LONGEST + 100
    assert str(AdvisorError("a\nb  'c'", "d\n")) == "a b  'c' d"


def test_a_path_that_was_a_url_shows_no_secret() -> None:
    assert without_secrets(str(Path("https://u:secret@h/d.npz?token=secret"))) == "https:/***@h/d.npz?***"
    for path in ("C:/a@b/x?y", "/a:b@c/x?y", "a/b@c", "sqlite:////a/s.db"):
        assert without_secrets(path) == path


def test_a_text_that_is_nearly_a_url_is_read_in_one_pass() -> None:
    text = "a" * 200_000 + "! http://u:p@h"
    before = time.process_time()
    assert without_secrets(text).endswith("! http://***@h")
    assert time.process_time() - before < 10
