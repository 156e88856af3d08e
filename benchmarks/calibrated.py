"""The calibrated estimator against measurements of twelve networks that no micro-benchmark is taken from.

OMP_NUM_THREADS=1 python benchmarks/calibrated.py [seconds to calibrate] [seconds to measure each network] [device.toml]

Targets: median error of the edge half over all cuts at most 10 %, Spearman at least 0.9 between predicted and measured
time of the pieces, calibration under 3 minutes. The limit: two measurements of the same half in the same run differ by
what the last column says, and no estimate can be nearer than that.
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


def compared(name: str, device: str, seconds: float) -> tuple[float, float, float]:
    """Median error of the edge half over the cuts, Spearman of the pieces, half width of the measured intervals."""
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
    return float(np.median(np.abs(edge / times[:, 0] - 1))), float(order), float(width)


def main(calibrating: str = "120", measuring: str = "10", file: str = "") -> None:
    """Print one line a network and the medians."""
    with tempfile.TemporaryDirectory() as scratch:
        device = file or str(Path(scratch) / "device.toml")
        if not file:
            started = time.perf_counter()
            Path(device).write_text(calibrate(seconds=float(calibrating)), encoding="utf-8")
            print(f"calibrated in {time.perf_counter() - started:.0f} s, {torch.get_num_threads()} threads")
        rows = []
        print(f"{'network':22}{'error':>8}{'Spearman':>10}{'measured ±':>12}")
        for name in NETWORKS:
            rows.append(compared(name, device, float(measuring)))
            print(f"{name:22}{100 * rows[-1][0]:7.1f}%{rows[-1][1]:10.3f}{100 * rows[-1][2]:11.1f}%", flush=True)
        error, order, width = np.array(rows).T
        print(f"median error {100 * np.median(error):.1f} % (target 10), worst {100 * error.max():.1f} %")
        print(f"Spearman: median {np.median(order):.3f}, least {order.min():.3f} (target 0.9 each)")
        print(f"measured medians are known to ± {100 * np.median(width):.1f} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
