"""Advice from Python: recommend, read the answer, split the model and run the two halves.

python examples/02_library.py --out out/library
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import advisor


def trained(x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    """A small CNN for 8×8 digits."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/library"))
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--trials", type=int, default=20)
    options = parser.parse_args(arguments)

    digits = load_digits()
    x = torch.tensor(digits.images[: options.samples], dtype=torch.float32).unsqueeze(1) / 16  # [N, 1, 8, 8] in [0, 1]
    y = torch.tensor(digits.target[: options.samples])
    net = trained(x, y, options.epochs)
    advice = advisor.recommend(
        net, x[:2], device="raspberry-pi-4b", link="bandwidth=20Mbps,rtt=15ms", data=(x, y),
        max_latency=0.050, max_accuracy_drop=0.02, trials=options.trials,
    )  # fmt: skip
    print(advice.headline)
    print("zone:", ", ".join(advice.zone) or "none")
    print("plans that no other beats in latency, leakage and accuracy:")
    for plan in advice.pareto:
        print(f"  {plan}: {1e3 * float(plan.predicted['latency']):.1f} ms, score {float(plan.predicted['score']):.2f}")

    assert advice.best_split is not None  # whatever the verdict
    edge, cloud = advice.best_split.split()  # two nn.Modules, the defense inside the edge half
    with torch.no_grad():
        same = (cloud(edge(x)).argmax(1) == net(x).argmax(1)).float().mean().item()
    print(f"{advice.best_split}: {100 * same:.1f} % of the answers are those of the whole model")
    advice.save(options.out)
    print(f"Open {options.out / 'report.html'}")


if __name__ == "__main__":
    main()
