"""A few mutations of each kind of model file; thousands of them: benchmarks/fuzz_loaders.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.fuzz_loaders import KINDS, load, mutated


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_loads_or_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    randomness, path = random.Random(kind), tmp_path / "m.pt"
    said = set()
    for _ in range(12):
        path.write_bytes(mutated(kind, randomness))
        said.add(load(path))
    assert "refused" in said
    assert said <= {"refused", "loaded"}
