"""Every snippet of the documents runs: commands in a prepared folder, Python in a prepared namespace.

A comment before a block, `<!-- not run: why -->`, leaves it out; its commands are parsed all the same.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import sys
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch import Tensor, nn

import advisor
from advisor import request_parts
from advisor.commands.support.command_examples import EXAMPLES
from advisor.data import samples as data
from advisor.estimators.inversion import alignment
from tests.conftest import CLASSES, SIDE, Run, samples

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.M | re.S)
ELSEWHERE = ("make ", "pip install", "git ", "python -m venv", "source ", ". ")
"""Commands that a test cannot run: of `make` the target must exist."""


@dataclass(frozen=True)
class Block:
    language: str
    body: str
    run: bool


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["language"], m["body"], m["why"] is None) for m in found]


def commands(body: str) -> list[list[str]]:
    """The command lines of a shell block, lines that end in a backslash joined, comments left out."""
    lines = body.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


HAVE = [page for page in PAGES if any(block.language in ("sh", "python") for block in blocks(page))]


class Reader(nn.Module):
    """Ids `[N, 6]` to three scores."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.act, self.out = nn.Embedding(30, 4), nn.ReLU(), nn.Linear(24, 3)

    def forward(self, ids: Tensor) -> Tensor:
        answer: Tensor = self.out(self.act(self.embed(ids).flatten(1)))
        return answer


class Towers(nn.Module):
    """A history `[N, 4]` and an item `[N]` to one score."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.user = nn.Embedding(20, 4), nn.Linear(4, 4)

    def forward(self, history: Tensor, item: Tensor) -> Tensor:
        return (self.user(self.items(history).mean(1)) * self.items(item)).sum(1, keepdim=True)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            layer1=nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 4, 3, padding=1), relu=nn.ReLU())),
            layer2=nn.Sequential(OrderedDict(conv=nn.Conv2d(4, 4, 3, stride=2), relu=nn.ReLU())),
            head=nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES)),
        )
    ).eval()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents show the usual efforts; here a few trials and steps tell that the lines work."""
    monkeypatch.setattr(request_parts, "EFFORTS", {"quick": 1, "standard": 2, "thorough": 3})
    few = {name: replace(budget, steps=10, epochs=2, checks=2) for name, budget in alignment.BUDGETS.items()}
    for name, budget in few.items():
        monkeypatch.setitem(alignment.BUDGETS, name, budget)
    monkeypatch.setattr(alignment.QuickAlignment.__init__, "__defaults__", (few["quick"], None))
    digits = data.read_digits()
    monkeypatch.setattr(data, "read_digits", lambda: replace(digits, x=digits.x[:60], y=digits.y[:60]))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents take for granted: a model, data, and an advice about them in `out`."""
    folder = tmp_path_factory.mktemp("prepared")
    arrays = samples(24)
    batch = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(net(), (torch.zeros(2, 1, SIDE, SIDE),), dynamic_shapes=(batch,), strict=False)
    torch.export.save(program, folder / "model.pt2")
    np.savez(folder / "test.npz", **arrays)
    for number, (image, label) in enumerate(zip(arrays["x"], arrays["y"], strict=True)):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).astype(np.uint8)).save(folder / "images" / str(label) / f"{number}.png")
    with contextlib.chdir(folder):
        advisor.recommend(
            "model.pt2", data="test.npz", trials=1, defenses="none", verify="none", require_split=True
        ).save("out")
    return folder


@pytest.fixture
def workshop(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that, in which the snippets of one page run."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    advisor.recommend("model.pt2", data="test.npz", trials=1, defenses="none", verify="none", require_split=True).save(
        "out"
    )
    return folder


def namespace() -> dict[str, Any]:
    arrays = samples(24)
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    model, draw = net(), torch.Generator().manual_seed(0)
    advice = advisor.recommend(model, data=(x, y), trials=1, defenses="none", verify="none")
    ids = torch.randint(30, (40, 6), generator=draw)
    offers = {
        "history": torch.randint(20, (40, 4), generator=draw), "item": torch.randint(20, (40,), generator=draw)
    }  # fmt: skip
    known = {"advisor": advisor, "torch": torch, "model": model, "example_inputs": x[:2], "x": x, "y": y}
    known |= {"advice": advice, "graph": advisor.trace(model, x[:2]), "reader": Reader().eval(), "ids": ids}
    known |= {"topics": torch.arange(40) % 3, "towers": Towers().eval(), "offers": offers}
    known |= {"liked": torch.arange(40) % 2, "x_train": x, "x_test": x, "y_test": y, "x_private": x[:6], "x_aux": x[6:]}
    return known


@pytest.mark.parametrize("page", HAVE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_are_of_this_program(page: Path) -> None:
    for block in blocks(page):
        for words in commands(block.body) if block.language == "sh" else []:
            if words[0] == "advisor":
                parse(words[1:])


@pytest.mark.slow
@pytest.mark.parametrize("page", HAVE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_snippets_of_a_page_run(page: Path, workshop: Path, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    known: dict[str, Any] = {}
    for block in blocks(page):
        if block.language == "python" and block.run:
            known = known or namespace()
            with contextlib.redirect_stdout(sys.stderr):
                exec(compile(block.body, str(page), "exec"), known)
        for words in commands(block.body) if block.language == "sh" else []:
            run_line(words, block.run, cli)


def run_line(words: list[str], run: bool, cli: Run) -> None:
    line = shlex.join(words)
    if words[0] == "advisor":
        parse(words[1:])
        if run:
            result = cli(*words[1:])
            assert result.exit_code == 0, f"{line}: {result.output}"
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.M) for target in words[1:] if "=" not in target), line
    elif words[0] == "python" and words[1].startswith(("examples/", "benchmarks/")):
        assert (ROOT / words[1]).exists(), line  # examples have tests of their own
    else:
        assert line.startswith(ELSEWHERE) or not run, f"nobody knows how to try: {line}"


def parse(words: list[str]) -> None:
    """Fails where a command or an option is none."""
    from advisor.cli import app

    group: Any = typer.main.get_command(app)
    with group.make_context("advisor", list(words)) as context:
        name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_ends_with_examples_that_parse(name: str, cli: Run) -> None:
    shown = " ".join(cli(name, "--help").stdout.split())
    assert "Examples:" in shown
    for line in EXAMPLES[name]:
        assert line.split()[1] == name
        parse(shlex.split(line.partition("  (")[0])[1:])


def test_every_command_has_an_example() -> None:
    from advisor.cli import app

    assert {command.callback.__name__ for command in app.registered_commands} == set(EXAMPLES)  # type: ignore[union-attr]


def test_a_snippet_that_is_wrong_is_found(tmp_path: Path, cli: Run) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nadvisor recommend --no-such-option\n```\n<!-- not run: x -->\n```sh\nadvisor nothing\n```\n"
    )
    first, second = blocks(page)
    assert (first.run, second.run) == (True, False)
    for block in (first, second):
        with pytest.raises(Exception, match="No such"):
            run_line(commands(block.body)[0], block.run, cli)


def test_json_is_on_offer_everywhere() -> None:
    from advisor.cli import app

    group: Any = typer.main.get_command(app)
    without = [name for name, command in group.commands.items() if "--json" not in json.dumps(
        [option for parameter in command.params for option in parameter.opts])]  # fmt: skip
    assert without == []
