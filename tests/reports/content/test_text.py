from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.reports.content.text import clean, is_png, markdown_block, markdown_code, markdown_text, shorten


@pytest.mark.parametrize(
    ("dirty", "line"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\ud800b", "a\\ud800b"),
        ("\U000e0041", "\\U000e0041"),
        ("a\n\tb  c\u2028d", "a b c d"),
        ("größe/µ²", "größe/µ²"),
    ],
)
def test_hidden_characters_become_visible(dirty: str, line: str) -> None:
    assert clean(dirty) == line


@given(st.text(alphabet=st.characters()))
def test_clean_is_printable_and_settled(text: str) -> None:
    line = clean(text)
    line.encode("utf-8")
    assert clean(line) == line
    assert "\n" not in line
    assert "\x1b" not in line


def test_the_end_of_a_long_path_survives() -> None:
    assert shorten("encoder.layers.11.self_attention/add", 20) == "….self_attention/add"
    assert len(shorten("x" * 100, 20)) == 20
    assert shorten("layer1.0", 20) == "layer1.0"


@pytest.mark.parametrize(
    "uri", ["data:image/svg+xml;base64,AAAA", "data:image/png;base64,", 'data:image/png;base64,A"x', "p.png"]
)
def test_only_a_png_is_a_picture(uri: str) -> None:
    assert not is_png(uri)
    assert is_png("data:image/png;base64,iVBORw0KGgo=")


def test_markdown_prose_gains_no_meaning() -> None:
    line = markdown_text("*b* _i_ `c` [l](u) a|b <script> @team #12 https://x.example www.y.example &amp;")
    assert not re.search(r"(?<!\\)[*_`\[\]|]", line)
    assert not re.search(r"<|@|://|www\.", line)
    assert not re.search(r"(?<!&)#", line)


def test_markdown_code_holds_back_ticks() -> None:
    assert markdown_code("layer1.0") == "`layer1.0`"
    assert markdown_code("a``b|c") == "``` a``b\\|c ```"


def test_markdown_block_outlasts_fences() -> None:
    assert markdown_block("run ```` me") == "`````\nrun ```` me\n`````"
