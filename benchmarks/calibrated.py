"""The calibrated estimator against measurements of twelve networks that no micro-benchmark is taken from.

python benchmarks/calibrated.py [seconds to calibrate] [seconds to measure each network]

Targets: median error of the edge half over all cuts at most 10 %, Spearman at least 0.9 between predicted and measured
time of the pieces, calibration under 3 minutes. The limit: two measurements of the same half in the same run differ by
what `measured ±` says, and no estimate can be nearer than that. `pace` is how long a fixed piece of work took beside
each network against during the calibration: on a shared machine it is no constant, and no calibration can know it;
`error` is as timed, `at one pace` corrects by it. Last runs, in quiet minutes of a shared virtual machine: two threads,
median error 4.1 %, worst network 10.5 %, least Spearman 0.909; one thread, 6.2 %, 27.1 % and 0.925. Why no better:
`docs/profiling.md`.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torchvision import models

import advisor
from advisor.profilers.boards import measured
from advisor.profilers.calibration import kinds
from advisor.profilers.calibration.calibrating import calibrate
from advisor.profilers.calibration.microbenchmarks import Pace

NETWORKS = (
    "alexnet", "vgg11", "resnet18", "resnet50", "squeezenet1_1", "googlenet", "densenet121", "mobilenet_v2",
    "mobilenet_v3_small", "shufflenet_v2_x1_0", "efficientnet_b0", "vit_b_16",
)  # fmt: skip


def compared(name: str, device: str, usual: float, seconds: float) -> tuple[float, ...]:
    """Median error of the edge half over the cuts, signed, at one pace; the pace; Spearman; ± of the medians."""
    with torch.random.fork_rng():
        options = {"init_weights": False} if name == "googlenet" else {}
        network = models.get_model(name, weights=None, **options).eval()
    graph = advisor.trace(network, torch.zeros(2, 3, 224, 224))
    predicted = kinds.halves(graph, device, "this-machine")
    pace, paces = Pace(), list[float]()
    found = measured._in_pytorch(
        graph, lambda _: paces.append(pace.seconds(3)), time.perf_counter, seconds, "pytorch-eager"
    )
    last, now = len(graph.cuts) - 1, float(np.median(paces)) / usual
    times = np.array([found["times"][f"edge:{i}"] for i in range(1, last)] + [found["times"]["whole"]])
    edge = np.array([estimate.value for estimate in predicted.edge[1:]])
    pieces = [found["times"][f"piece:{i}"][0] for i in range(1, last + 1)]
    order = spearmanr(np.diff(edge, prepend=0.0), pieces).statistic
    width = np.median((times[:, 2] - times[:, 1]) / 2 / times[:, 0])
    off, paced = edge / times[:, 0] - 1, edge * now / times[:, 0] - 1
    return tuple(map(float, (np.median(np.abs(off)), np.median(off), np.median(np.abs(paced)), now - 1, order, width)))


def main(calibrating: str = "120", measuring: str = "8") -> None:
    """Print one line a network and the medians."""
    with tempfile.TemporaryDirectory() as scratch:
        device, started = Path(scratch) / "device.toml", time.perf_counter()
        device.write_text(calibrate(seconds=float(calibrating)), encoding="utf-8")
        print(f"calibrated in {time.perf_counter() - started:.0f} s, {torch.get_num_threads()} threads")
        usual = tomllib.loads(device.read_text(encoding="utf-8"))["calibrations"]["this-machine"]["pace"]
        print(
            f"{'network':20}{'error':>8}{'signed':>9}{'at one pace':>13}{'pace':>8}{'Spearman':>10}{'measured ±':>12}"
        )
        rows = []
        for name in NETWORKS:
            error, signed, paced, pace, order, width = row = compared(name, str(device), usual, float(measuring))
            rows.append(row)
            print(f"{name:20}{error:8.1%}{signed:+9.1%}{paced:13.1%}{pace:+8.1%}{order:10.3f}{width:12.1%}", flush=True)
        errors, _, paced, _, orders, widths = np.array(rows).T
        print(f"median error {np.median(errors):.1%} (target 10 %), worst {errors.max():.1%}")
        print(f"at the calibration's pace: {np.median(paced):.1%}, worst {paced.max():.1%}")
        print(f"Spearman: median {np.median(orders):.3f}, least {orders.min():.3f} (target 0.9 each)")
        print(f"measured medians are known to ± {np.median(widths):.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
