"""A release pipeline: advice for version 1, its digest kept elsewhere, and a gate for version 2 of the weights.

What stands in `examples/gate/` does the same in GitHub Actions and before a commit.

    python examples/08_release_gate.py --out out/gate
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import advisor
from advisor.reports.gate_summary import markdown


def trained(x: Tensor, y: Tensor, epochs: int, seed: int) -> nn.Module:
    """One version of the weights."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/gate"))
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args(arguments)

    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    learn, test = slice(options.samples, None), slice(options.samples)
    advice = advisor.recommend(
        trained(x[learn], y[learn], options.epochs, seed=1), data=(x[test], y[test]), require_split=True,
        min_nmse=0.2, trials=options.trials,
    )  # fmt: skip
    advice.save(options.out)
    digest = advice.digest  # belongs where who edits the advice cannot edit it: a variable of the pipeline
    print(f"{advice.headline}\nDigest: {digest}\n")

    release = trained(x[learn], y[learn], options.epochs, seed=2)
    gate = advisor.check(
        options.out, release, (x[test], y[test]), digest=digest, max_latency="50ms", max_accuracy_drop="5%"
    )
    print(markdown(gate))
    stricter = advisor.check(options.out, release, (x[test], y[test]), digest=digest, max_latency="1us")
    print("\n".join(stricter.failures))


if __name__ == "__main__":
    main()
