"""A worker of the tests of shared storages: `python -m` this module, with URL OUT [MORE]."""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import advisor
from advisor.defenses import GaussianNoise
from advisor.planning.shared_study import study_storage
from tests.conftest import attacks_shortened

TRIALS = 8
TIMED = ("wall_time_s", "stages", "told", "made", "host", "command")


@functools.cache
def small_net() -> nn.Module:
    """Tells how bright a picture is."""
    x, y = samples()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)]
        net = nn.Sequential(*layers)
        optimizer = torch.optim.Adam(net.parameters(), 0.02)
        for _ in range(200):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net.eval()


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(240, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    brightness = x.flatten(1).mean(1)
    return x, torch.bucketize(brightness, brightness.quantile(torch.tensor([0.33, 0.67])))


def recommended(url: str | None, **more: Any) -> advisor.Advice:
    options = {"data": samples(), "trials": TRIALS, "max_accuracy_drop": 0.1, "verify": "none", "min_nmse": 0.3}
    return advisor.recommend(small_net(), storage=url, **options | more)


def plain(advice: advisor.Advice) -> dict[str, Any]:
    """The answer, timings and what is asked of the storage left out."""
    payload: dict[str, Any] = json.loads(json.dumps(advice.to_json()))
    for name in TIMED:
        payload["provenance"].pop(name, None)
    payload["request"]["search"].pop("storage")
    payload["request"]["search"].pop("study")
    return payload


def main() -> None:
    """Run one worker; each evaluation takes a while, so that others can take part, and is counted."""
    url, out, more = sys.argv[1], Path(sys.argv[2]), json.loads((sys.argv[3:] or ["{}"])[0])
    study_storage.HEARTBEAT, study_storage.GRACE = 1, 4
    pause, computed = more.pop("pause", 0.3), out.with_suffix(".computed")
    shown = GaussianNoise.noise_equivalent

    def slow(self: GaussianNoise, tensors: Any) -> float | None:
        with computed.open("a") as file:
            file.write(f"{self}\n")
        time.sleep(pause)
        return shown(self, tensors)

    GaussianNoise.noise_equivalent = slow  # type: ignore[method-assign]
    with attacks_shortened():  # as in the tests that hold the answer against their own
        advice = recommended(None if url == "memory" else url, **more)
    out.write_text(json.dumps(plain(advice)))


if __name__ == "__main__":
    main()
