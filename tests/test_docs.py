"""The documents say what the program does: columns, exit codes, commands, links between pages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import advisor
from advisor.columns import Column
from advisor.commands.support import exits
from advisor.commands.support.command_examples import EXAMPLES
from tests.conftest import Run, samples, tiny_net

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def rows(page: Path) -> list[list[str]]:
    """The cells of every table row, code marks removed."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.fixture(scope="module")
def columns() -> dict[str, Column]:
    arrays = samples(24)
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    graph = advisor.trace(tiny_net(), x[:2])
    return {**advisor.profile(graph).columns, **advisor.leakage(graph, x, y).columns}


def test_every_column_is_documented_with_its_unit_direction_and_source(columns: dict[str, Column]) -> None:
    told = {row[0]: row[1:] for row in rows(ROOT / "docs" / "columns.md")}
    for name, column in columns.items():
        assert name in told, f"{name} is not in docs/columns.md"
        unit, better, source = told[name][:3]
        assert (unit, better) == (column.unit, column.better), name
        assert column.source in source or source.startswith("as "), name
    documented = set(told) - {"column"} - {name for name in told if name.startswith("--")}
    assert documented == set(columns)


def test_exit_codes_are_those_of_the_program() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    for page in (ROOT / "README.md", ROOT / "docs" / "exit-codes.md"):
        told = {int(row[0]) for row in rows(page) if row[0].isdecimal()}
        assert told == codes - ({exits.BROKEN_PIPE} if page.name == "README.md" else set())


def test_every_command_is_in_the_readme(cli: Run) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in EXAMPLES:
        assert f"`advisor {command}" in text, command
    assert "--min-nmse" in cli("recommend", "--help").stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_pictures_are_small() -> None:
    pictures = [*(ROOT / "docs" / "images").iterdir()]
    assert pictures
    assert all(path.suffix == ".png" and path.stat().st_size < 150_000 for path in pictures)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="needs the extra docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "docs" / "index.html").exists()
    reference = (tmp_path / "site" / "docs" / "reference.html").read_text(encoding="utf-8")
    for name in ("recommend", "check", "attack", "defend", "export"):
        assert f'id="advisor.{name}"' in reference, name
