"""Train a small CNN on scikit-learn's digits and save it as a torch.export program with a dynamic batch.

python examples/01_digits_cnn.py --out out/model.pt
advisor recommend out/model.pt --device jetson --data digits
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(outputs), relu=nn.ReLU()))


def build() -> nn.Module:
    """Four convolutions from 8×8 pixels to ten classes; the cuts of the advice carry these names."""
    head = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=nn.Linear(64, 10))
    return nn.Sequential(
        OrderedDict(
            stem=block(1, 16),
            stage1=block(16, 32, stride=2),
            stage2=block(32, 64, stride=2),
            stage3=block(64, 64),
            head=nn.Sequential(head),
        )
    )


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images `[N, 1, 8, 8]` in [0, 1] and labels: three quarters to learn from, the rest to test on."""
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    cut = 3 * len(x) // 4
    return x[order[:cut]], y[order[:cut]], x[order[cut:]], y[order[cut:]]


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    model.eval()


def save(model: nn.Module, path: Path) -> None:
    """As a program that needs no Python code of ours, for any batch size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    program = torch.export.export(
        model, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False
    )
    with path.open("wb") as file:  # a file object: torch would insist on the ending .pt2
        torch.export.save(program, file)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/model.pt"))
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    x, y, x_test, y_test = digits()
    model = build()
    train(model, x, y, options.epochs)
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
    save(model, options.out)
    print(f"{options.out}: {100 * accuracy:.1f} % of {len(y_test)} unseen digits right")


if __name__ == "__main__":
    main()
