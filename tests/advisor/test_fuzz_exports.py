"""Exported folders and messages of strangers, fuzzed: each is taken, or refused in one line; no code runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

import advisor
from advisor.defenses import Chain, GaussianNoise, Quantize8
from tests.advisor.test_exporting import plan_of
from tests.fuzzing import Target, findings

FEW = 8
NAMES = ("message", "half-pt2", "half-onnx", "folder")
X = np.linspace(0, 1, 18, dtype="float32").reshape(3, 6)


@cache
def targets(folder: Path) -> tuple[Target, ...]:
    """One a loader; `folder` keeps what they need."""
    made = {}
    for format in ("pt2", "onnx"):
        made[format] = folder / format
        plan_of("functional", "silu", Chain((GaussianNoise(0.3), Quantize8()))).export(made[format], format)  # type: ignore[arg-type]
    cloud = advisor.runtime.Cloud(made["pt2"])
    plan = json.loads((made["pt2"] / "plan.json").read_text())
    return (
        Target("message", advisor.runtime.Edge(made["pt2"]).send(X), lambda path: cloud.receive(path.read_bytes())),
        Target("half-pt2", (made["pt2"] / "edge.pt2").read_bytes(), partial(_run, made["pt2"], "edge.pt2"), ".pt2"),
        Target(
            "half-onnx", (made["onnx"] / "edge.onnx").read_bytes(), partial(_run, made["onnx"], "edge.onnx"), ".onnx"
        ),
        Target("folder", plan, partial(_opened, made["pt2"]), ".json"),
    )


def _run(sound: Path, name: str, path: Path) -> None:
    """A changed half in a folder that tells its hash, opened and called."""
    folder, data = path.parent / f"halves-{name}", path.read_bytes()
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    (folder / name).write_bytes(data)
    plan = json.loads((sound / "plan.json").read_text())
    plan["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "plan.json").write_text(json.dumps(plan))
    advisor.load_export(folder)
    advisor.runtime.Edge(folder).send(X)


def _opened(sound: Path, path: Path) -> None:
    """A changed plan.json beside sound halves, opened, called and answered."""
    folder = path.parent / "opened"
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    (folder / "plan.json").write_bytes(path.read_bytes())
    advisor.load_export(folder)
    message = advisor.runtime.Edge(folder).send(X)
    advisor.runtime.Cloud(folder).receive(message)


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_taken_or_refused_in_one_line(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz-exports"
    target = next(target for target in targets(folder) if target.name == name)
    assert not findings(target, FEW, folder)


def test_the_honest_files_are_taken(tmp_path_factory: pytest.TempPathFactory) -> None:
    for target in targets(tmp_path_factory.getbasetemp() / "fuzz-exports"):
        path = tmp_path_factory.mktemp(target.name) / f"honest{target.suffix}"
        path.write_bytes(target.honest if isinstance(target.honest, bytes) else json.dumps(target.honest).encode())
        target.load(path)
