"""Exports of a model of the zoo, written once a process: a test gets a copy of its own."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from advisor.defenses import Defense, NoDefense
from advisor.plans import Plan
from tests.models import traced


def exported(cut: str, folder: Path, defense: Defense | None = None, format: str = "pt2") -> Path:
    """The halves of `functional` at a cut, in that folder."""
    return Path(shutil.copytree(_written(cut, defense or NoDefense(), format), folder, dirs_exist_ok=True))


@cache
def _written(cut: str, defense: Defense, format: str) -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    graph = traced("functional")
    plan = Plan((graph.cut(cut),), defense, {}, inputs=graph.inputs, graph=graph)
    plan.export(folder, format)  # type: ignore[arg-type]
    return folder
