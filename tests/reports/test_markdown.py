from __future__ import annotations

from advisor.reports import markdown
from advisor.testing.made_up_advices import DEMOS


def test_rows_of_every_table_have_as_many_cells_as_their_header() -> None:
    for make in DEMOS.values():
        header = 0
        for line in markdown.render(make()).splitlines():
            cells = line.replace("\\|", "").count("|") if line.startswith("|") else 0
            assert header in (0, cells) or cells == 0
            header = cells


def test_it_is_short_and_marks_the_choice() -> None:
    text = markdown.render(DEMOS["long_model"]())
    assert len(text.splitlines()) < 88
    assert "**`encoder.layers.79.mlp/add`** ← chosen" in text
    assert "188 of 200 cuts left out." in text


def test_nothing_of_a_model_becomes_markup() -> None:
    text = markdown.render(DEMOS["hostile"]())
    outside = text.replace("`</svg><script>alert(1)</script>`", "")
    prose = [line for line in outside.splitlines() if not line.startswith(("|", "advisor "))]
    assert not any("<script" in line or "@team" in line or "https://" in line for line in prose)


def test_headers_say_the_source() -> None:
    assert "| sent (measured) | latency (estimated) |" in markdown.render(DEMOS["digits"]())
