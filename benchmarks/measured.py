"""What measuring costs beside what is measured, and what the halves add up to.

OMP_NUM_THREADS=1 python benchmarks/measured.py [seconds a network]

Targets: edge half + cloud half within 5 % of the whole model at every cut, or explained; all that is not the timed
steps themselves (building halves, warm-up, shuffling, intervals) at most 10 % of the time that is measured. The limit:
two uncounted rounds of the 20 to 40 that fit into the time, and the noise of two medians. Last run: overhead 0.8, 2.8,
2.8 and 2.8 %; median gaps -0.3 to +2.4 %; the widest +10.4 % (ResNet-18, second cut, noise reaches 9.3 %), the others
within the noise that is printed beside them.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from torchvision import models

import advisor
from advisor.profilers.boards import agent, measured

NETWORKS = ("resnet18", "mobilenet_v2", "densenet121", "vit_b_16")


def row(name: str, seconds: float) -> str:
    """One network: worst and median gap of the halves, pieces against the whole, overhead."""
    with torch.random.fork_rng():
        graph = advisor.trace(models.get_model(name, weights=None).eval(), torch.zeros(2, 3, 224, 224))
    timed = agent.time_cases
    kept: dict[str, Any] = {}

    def spy(*args: Any, **options: Any) -> agent.Samples:
        kept["samples"] = timed(*args, **options)
        return kept["samples"]

    agent.time_cases = spy
    started = time.perf_counter()
    found = measured.halves(graph, limit=seconds)
    wall = time.perf_counter() - started
    agent.time_cases = timed
    inside = sum(sum(values) for values in kept["samples"].values())
    medians = {name: agent.interval(values)[0] for name, values in kept["samples"].items()}
    last = len(graph.cuts) - 1
    gaps = np.array([medians[f"edge:{i}"] + medians[f"cloud:{i}"] for i in range(1, last)]) / medians["whole"] - 1
    pieces = sum(medians[f"piece:{i}"] for i in range(1, last + 1)) / medians["whole"] - 1
    rounds = len(kept["samples"]["whole"])
    print(
        f"{name:14}{last + 1:5}{rounds:8}{np.median(gaps):+9.1%}{gaps[np.abs(gaps).argmax()]:+9.1%}{pieces:+9.1%}"
        f"{wall / inside - 1:10.1%}"
    )
    return found.notes[0]


def main(seconds: str = "20") -> None:
    """Print a line a network, and what each profile says of its gaps."""
    print(f"{'network':14}{'cuts':>5}{'rounds':>8}{'median':>9}{'worst':>9}{'pieces':>9}{'overhead':>10}")
    for note in [row(name, float(seconds)) for name in NETWORKS]:
        print(note)


if __name__ == "__main__":
    main(*sys.argv[1:])
