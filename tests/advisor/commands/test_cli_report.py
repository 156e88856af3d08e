"""`advisor report`, a saved advice shown again."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.text import Text

from advisor.testing.made_up_advices import DEMOS
from tests.conftest import Run


@pytest.mark.parametrize("width", [80, 100])
def test_on_a_terminal_the_answer_has_its_width(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    next(iter(DEMOS.values()))().save(tmp_path / "out")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("COLUMNS", str(width))
    result = cli("report", "out")
    assert result.exit_code == 0, result.stderr
    before, _, _ = Text.from_ansi(result.stdout).plain.partition("To reproduce")  # commands stay on one line
    lengths = [len(line.rstrip()) for line in before.splitlines()]
    assert width - 20 < max(lengths) <= width


def test_piped_the_answer_is_that_of_the_report(cli: Run, tmp_path: Path) -> None:
    from advisor.reports import console

    advice = next(iter(DEMOS.values()))()
    advice.save(tmp_path / "out")
    assert cli("report", "out").stdout == console.render(advice)
    assert cli("report", "out", "--all-cuts").stdout == console.render_all(advice)
