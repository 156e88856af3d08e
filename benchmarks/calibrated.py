"""The calibrated estimator against measurements of twelve networks that no micro-benchmark is taken from.

OMP_NUM_THREADS=1 python benchmarks/calibrated.py [seconds to calibrate] [seconds to measure each network]

Targets: median error of the edge half over all cuts at most 10 %, Spearman at least 0.9 between predicted and measured
time of the pieces, calibration under 3 minutes. The limit: two measurements of the same half in the same run differ by
what `measured ±` says, and no estimate can be nearer than that. `machine` is how long a fixed piece of work took beside
each network against during the calibration: on a shared machine it is no constant, and no calibration can know it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torchvision import models

import advisor
from advisor.profilers import calibration, measured
from advisor.profilers.calibrating import calibrate

NETWORKS = (
    "alexnet", "vgg11", "resnet18", "resnet50", "squeezenet1_1", "googlenet", "densenet121", "mobilenet_v2",
    "mobilenet_v3_small", "shufflenet_v2_x1_0", "efficientnet_b0", "vit_b_16",
)  # fmt: skip


def fixed_work(repeats: int = 40) -> float:
    """Median seconds of a convolution and a pass over memory."""
    image, kernel, long = torch.rand(1, 64, 56, 56), torch.rand(64, 64, 3, 3), torch.rand(4_000_000)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        torch.conv2d(image, kernel, padding=1)
        long.relu()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def compared(name: str, device: str, seconds: float) -> tuple[float, float, float, float]:
    """Median error of the edge half over the cuts, its sign, Spearman of the pieces, half width of the intervals."""
    with torch.random.fork_rng():
        options = {"init_weights": False} if name == "googlenet" else {}
        network = models.get_model(name, weights=None, **options).eval()
    graph = advisor.trace(network, torch.zeros(2, 3, 224, 224))
    predicted = calibration.halves(graph, device, "this-machine")
    found = measured._in_pytorch(graph, None, time.perf_counter, seconds, "pytorch-eager")
    last = len(graph.cuts) - 1
    times = np.array([found["times"][f"edge:{i}"] for i in range(1, last)] + [found["times"]["whole"]])
    edge = np.array([estimate.value for estimate in predicted.edge[1:]])
    pieces = [found["times"][f"piece:{i}"][0] for i in range(1, last + 1)]
    order = spearmanr(np.diff(edge, prepend=0.0), pieces).statistic
    width = np.median((times[:, 2] - times[:, 1]) / 2 / times[:, 0])
    off = edge / times[:, 0] - 1
    return float(np.median(np.abs(off))), float(np.median(off)), float(order), float(width)


def main(calibrating: str = "120", measuring: str = "10") -> None:
    """Print one line a network and the medians."""
    with tempfile.TemporaryDirectory() as scratch:
        device, started, paces = Path(scratch) / "device.toml", time.perf_counter(), [fixed_work()]

        def look(share: float) -> None:
            if share > 0.1 * len(paces):
                paces.append(fixed_work())

        device.write_text(calibrate(seconds=float(calibrating), progress=look), encoding="utf-8")
        print(f"calibrated in {time.perf_counter() - started:.0f} s, {torch.get_num_threads()} threads")
        pace, rows = float(np.median(paces)), []
        print(f"{'network':20}{'error':>8}{'signed':>9}{'machine':>9}{'Spearman':>10}{'measured ±':>12}")
        for name in NETWORKS:
            before = fixed_work()
            error, signed, order, width = compared(name, str(device), float(measuring))
            machine = (before + fixed_work()) / 2 / pace - 1
            rows.append((error, order, width))
            print(f"{name:20}{error:8.1%}{signed:+9.1%}{machine:+9.1%}{order:10.3f}{width:12.1%}", flush=True)
        errors, orders, widths = np.array(rows).T
        print(f"median error {np.median(errors):.1%} (target 10 %), worst {errors.max():.1%}")
        print(f"Spearman: median {np.median(orders):.3f}, least {orders.min():.3f} (target 0.9 each)")
        print(f"measured medians are known to ± {np.median(widths):.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
