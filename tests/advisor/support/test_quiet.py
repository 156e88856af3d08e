"""What torch prints, logs and warns of does not reach the user; what others say does."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch

from advisor.support.quiet import quiet


def _printed_by(module: str, text: str, stream: str) -> None:
    exec(f"import sys; print({text!r}, file=sys.{stream})", {"__name__": module})


def _warned_and_failed() -> None:
    warnings.warn("unseen", stacklevel=1)
    logging.getLogger("torch.export").error("unseen")
    raise ZeroDivisionError


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_prints_of_torch_are_swallowed_and_those_of_others_are_not(
    stream: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = getattr(sys, stream)
    with quiet():
        _printed_by("torch.export._trace", "a graph of 370 lines", stream)
        _printed_by("torchmetrics", "another library", stream)
        _printed_by("advisor.commands.support.exits", "ours", stream)
        thread = threading.Thread(target=_printed_by, args=("progress", "a thread's", stream))
        thread.start()
        thread.join()
    assert getattr(sys, stream) is before
    _printed_by("torch.export._trace", "afterwards", stream)
    assert getattr(capsys.readouterr(), {"stdout": "out", "stderr": "err"}[stream]).splitlines() == [
        "another library", "ours", "a thread's", "afterwards",
    ]  # fmt: skip


def test_warnings_and_log_lines_are_as_found_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    level = logging.getLogger("torch").level
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(ZeroDivisionError), quiet():
            _warned_and_failed()
        warnings.warn("seen", stacklevel=1)
    assert [str(w.message) for w in seen] == ["seen"]
    assert logging.getLogger("torch").level == level
    assert "unseen" not in caplog.text


MODEL = """
import torch
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
    def forward(self, x):
        return {result}
make = Model
"""


@pytest.mark.parametrize(
    ("result", "code", "said"),
    [
        ("self.layer(x) / (1 + self.layer(x)[:, :1].std(-1, keepdim=True))", 0, "no finite number"),
        ("self.layer(x) if x.sum() > 0 else x", 2, "cannot trace Model at net.py:8"),
    ],
)
def test_a_command_says_its_own_lines_only(tmp_path: Path, result: str, code: int, said: str) -> None:
    """torch's kernels warn of a spread of one number on the file descriptor; its export prints the graph it gave up."""
    (tmp_path / "net.py").write_text(MODEL.format(result=result))
    torch.save(
        {f"layer.{name}": value for name, value in torch.nn.Linear(4, 3).state_dict().items()}, tmp_path / "net.pt"
    )
    command = [sys.executable, "-m", "advisor", "profile", "net.pt", "--arch", "net.py:make", "--trust"]
    run = subprocess.run(
        [*command, "--input-shape", "4"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == code, run.stderr
    assert said in run.stderr
    ours = ("Loading", "Tracing", "Note: ", "Pricing", "Took ", "Wrote ", "error: ")
    assert [line for line in run.stderr.splitlines() if not line.startswith(ours)] == []
