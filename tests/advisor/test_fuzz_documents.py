"""Files of strangers but models and data, fuzzed: each is taken, or refused in one line; no crash, no hang."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from advisor import wire
from advisor.advice import load_advice
from advisor.columns import Profile
from advisor.exporting.manifest import Exported
from advisor.profilers import device
from advisor.profilers.boards import answers
from advisor.profilers.transmission.network_trace import read_trace
from advisor.reports import console, html
from advisor.reports.charts import vega
from advisor.support.checkpoint import Checkpoint
from advisor.testing.made_up_advices import digits as advice
from tests.fuzzing import Target, findings

FEW = 20
SLOW = {"page": 2}
NAMES = ("advice", "page", "profile", "plan", "device", "trace", "wire", "checkpoint", "probe", "result")

DEVICE = b"""[devices.mine]
kind = "edge"
unit = "cpu"
default = "pytorch-eager:fp32"
fp32_tflops = 0.5
copy_gbs = 10.0
memory_gb = 4.0
idle_w = 2.0
stands_for = "a board"
source = "measured"
"""
PLAN = {
    "format": "pt2", "model": {"why": "given in Python"}, "cuts": ["a"], "defense": {"name": "none", "parameters": {}},
    "arguments": None, "wire": {"codec": "wire.py"}, "batch": None, "predicted": {}, "verified": {},
    "parts": [{"name": "edge", "place": "edge", "file": "edge.pt2", "inputs": [], "outputs": []}],
    "crossings": [{"sender": "edge", "receiver": "cloud", "cut": "a", "tensors": [], "sample_bytes": 4}],
    "files": {"edge.pt2": {"sha256": "0" * 64, "bytes": 1}}, "notes": [], "versions": {}, "schema_version": "1.0",
    "check": {
        "runtime": "torch", "batches": [1, 2], "exact": True, "tolerance": 0.0, "max_abs_difference": 0.0,
        "top1_equal": 1.0,
    },
    "kind": "exported plan",
}  # fmt: skip
PROBE = {
    "agent": 1, "python": "3.11.7", "machine": "x86_64", "board": "b", "cores": 2, "memory": 10**9, "free": 10**10,
    "torch": "2.1.0", "onnxruntime": None, "missing": {"onnxruntime": "not there"}, "providers": ["CPU"],
}  # fmt: skip
RESULT = {
    "state": "done", "rounds": 5, "share": 1.0, "times": {"whole": [2e-3, 1e-3, 3e-3], "edge:1": [1e-3, 1e-3, 2e-3]},
    "pieces": [2e-3, 1e-3, 3e-3], "started": [1e9], "ended": [1e9], "runtime": "pytorch-eager", "version": "2.1.0",
    "on": "cpu", "threads": 2,
}  # fmt: skip


@cache
def targets(folder: Path) -> tuple[Target, ...]:
    """One a loader; `folder` keeps what they need."""
    folder.mkdir(parents=True, exist_ok=True)
    Checkpoint(folder / "kept", [1, 2]).save({"a": torch.rand(3), "b": [1, "x"]})
    rows = b"up_mbps,rtt_ms,down_mbps\n" + b"".join(b"%d.5,%d,20\n" % (5 + i % 7, 10 + i % 9) for i in range(30))
    tensor = np.random.default_rng(0).random((3, 4, 2), dtype=np.float32)
    specs = [{"dtype": "float32", "shape": [4, 2]}]
    return (
        Target("advice", advice().to_json(), _shown, ".json"),
        Target(
            "page", advice().to_json(), lambda path: html.render(load_advice(path)), ".json", memory=vega.ADDRESSES,
        ),
        Target("profile", advice().profile.to_json(), lambda path: Profile.load(path).to_json(), ".json"),
        Target("plan", PLAN, lambda path: Exported.from_json(_json(path)).text(), ".json"),
        Target("device", DEVICE, lambda path: device(str(path)), ".toml"),
        Target("trace", rows, read_trace, ".csv"),
        Target(
            "wire", wire.pack([tensor]), lambda path: wire.unpack_torch(path.read_bytes(), specs),
            allowed=(wire.WireError,),
        ),
        Target("checkpoint", (folder / "kept").read_bytes(), lambda path: Checkpoint(path, [1, 2]).load()),
        Target("probe", PROBE, lambda path: answers.probe(_text(path), "it"), ".json"),
        Target("result", RESULT, lambda path: answers.result(_text(path), "it"), ".json"),
    )  # fmt: skip


def _shown(path: Path) -> None:
    found = load_advice(path)
    json.dumps(found.to_json(), allow_nan=False).encode()
    console.render(found)


def _json(path: Path) -> object:
    from advisor.support.documents import read_json

    return read_json(path)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")  # as the connection decodes it


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_taken_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    target = next(target for target in targets(tmp_path) if target.name == name)
    assert not findings(target, SLOW.get(name, FEW), tmp_path)


def test_the_honest_files_are_taken(tmp_path: Path) -> None:
    for target in targets(tmp_path):
        path = tmp_path / f"honest{target.suffix}"
        path.write_bytes(target.honest if isinstance(target.honest, bytes) else json.dumps(target.honest).encode())
        target.load(path)
