"""Calibrating this machine: micro-benchmarks, a fit, a device file."""

from __future__ import annotations

import platform
import re
import time
from datetime import UTC, datetime

from advisor.errors import AdvisorError
from advisor.profilers.boards import agent
from advisor.profilers.calibration.kinds import fit, toml
from advisor.profilers.calibration.microbenchmarks import timed
from advisor.progress import Progress, silence
from advisor.support.preserve import left_as_found

DURATION = 120.0
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def calibrate(name: str = "this-machine", seconds: float = DURATION, progress: Progress = silence) -> str:
    """The text of a device file for this machine: eager PyTorch on its CPU, with the current number of threads.

    Args:
        name: what to call the device.
        seconds: how long to measure; the fit takes a few more.
        progress: told the share of the time that is used.

    Raises:
        AdvisorError: on a name that is none, or too little time.
    """
    import torch

    if not _NAME.fullmatch(name):
        raise AdvisorError(f"{name!r} is no name for a device.", "Use letters, digits, - and _.")
    with left_as_found():
        found, pace = timed(seconds, progress=progress)
        rate = copy_rate()
    kinds = fit(found)
    if not {"linear", "pass"} <= kinds.keys() or not {"conv", "conv_gemm"} & kinds.keys():
        raise AdvisorError(f"{len(found)} micro-benchmarks are too few.", "Give it more time: 60s or longer.")
    return toml(name, kinds, _facts(rate, len(found)), torch.get_num_threads(), pace)


def copy_rate() -> float:
    """Bytes per second of a memory copy of 64 MB: the best of five, since neighbours only slow it."""
    import torch

    source = torch.zeros(16 * 2**20)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - begun)
    return source.numel() * 4 / best


def _facts(rate: float, count: int) -> dict[str, float | str]:
    import torch

    facts: dict[str, float | str] = {
        "kind": "edge",
        "unit": "cpu",
        "default": "pytorch-eager:fp32",
        "copy_gbs": rate / 1e9,
    }
    memory = agent._memory()
    if memory:
        facts["memory_gb"] = memory / 1e9
    threads = torch.get_num_threads()
    when = datetime.now(UTC).date().isoformat()
    facts["stands_for"] = f"{agent._board()} as calibrated: eager PyTorch, {threads} threads"
    facts["source"] = (
        f"advisor calibrate, {when}: {count} micro-benchmarks, PyTorch {torch.__version__}, {platform.machine()}"
    )
    return facts
