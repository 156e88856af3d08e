"""Maeng et al. 2022, figure 2: an unbiased attacker's error is never below 1/dFIL, and near it where W is wide.

    python benchmarks/papers/dfil.py          # about a minute; writes dfil.csv

Their setting: an MLP on MNIST, split after its first linear layer of width 1,000 or 10,000, Adam on the input.
Ours: scikit-learn's digits enlarged to 28×28 pixels in place of MNIST; least squares in closed form in place of Adam,
whose limit it is; reconstructions are not clipped, since clipping is a bias. Limits: the attack's error equals
σ²Tr((WᵀW)⁻¹)/d within its 90 % interval and 3 %, at no width lies below 1/dFIL, and at width 10,000 within 15 % of it.
"""

from __future__ import annotations

import math
import sys

import torch
from common import Table, accuracy, train
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import advisor
from advisor.defenses import GaussianNoise

WIDTHS = (1000, 2500, 10_000)
BOUNDS = (0.01, 1.0)
"""1/dFIL that the noise is set for."""

SAMPLES = 48


def digits() -> tuple[Tensor, Tensor]:
    """`[1797, 1, 28, 28]` scans in [0, 1], enlarged from 8×8, and labels, shuffled."""
    data = load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))
    x = torch.from_numpy(data.images).float()[order, None] / 16
    enlarged = F.interpolate(x, size=(28, 28), mode="bilinear", align_corners=False)
    return enlarged, torch.from_numpy(data.target).long()[order]


def measured(width: int, bound: float) -> dict[str, str]:
    """One width at one noise."""
    x, y = digits()
    torch.manual_seed(width)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
    model = train(layers, x[:1500], y[:1500], 2, 3e-4, 0, flip=False)
    W = model[1].weight.detach().double()
    trace = float(W.square().sum())
    sigma = math.sqrt(trace / 784 * bound)
    exact = sigma**2 * float(torch.linalg.inv(W.T @ W).trace()) / 784
    graph = advisor.trace(model, x[:2])
    found = advisor.attack(graph, 2, x[-SAMPLES:], name="unbiased", defense=GaussianNoise(sigma)).mse
    return {
        "width": str(width), "bound_1_over_dfil": f"{bound:g}", "sigma": f"{sigma:.4g}",
        "closed_form": f"{exact:.5g}", "attack_mse": f"{found.value:.5g}", "low_90": f"{found.low:.5g}",
        "high_90": f"{found.high:.5g}", "attack_over_bound": f"{found.value / bound:.4f}",
        "accuracy": f"{accuracy(model, x[1500:], y[1500:]):.3f}", "samples": str(SAMPLES),
    }  # fmt: skip


def main() -> int:
    """Fill the table, and hold it against the limits."""
    table = Table("dfil", 2)
    failed = []
    for width in WIDTHS:
        for bound in BOUNDS:
            row = table.row(str(width), f"{bound:g}", compute=lambda w=width, b=bound: measured(w, b))
            exact, attack = float(row["closed_form"]), float(row["attack_mse"])
            off = abs(attack - exact) > max(0.03 * exact, float(row["high_90"]) - attack)
            if off or attack < bound or (width == 10_000 and attack > 1.15 * bound):
                failed.append(row)
    print("inside the limits" if not failed else f"outside the limits: {failed}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
