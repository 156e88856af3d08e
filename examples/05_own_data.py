"""Your own weights and your own images: a state dict that a factory builds, a folder of class folders.

What it writes stands for what you have: `weights.pt` and `images/0/…png` to `images/9/…png`. Then it asks for advice as
`advisor recommend weights.pt --arch own_model:build --data images` would.

    python examples/05_own_data.py --out out/own
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import advisor

FACTORY = '''"""Builds the network that the weights belong to; `--arch own_model:build` names it."""

from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )
'''


def write_images(folder: Path, count: int) -> None:
    """Digits as PNG files, one folder a class."""
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:count], digits.target, strict=False)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image / 16 * 255).astype(np.uint8)).save(place / f"{number:04}.png")


def trained(build: object, epochs: int) -> nn.Module:
    digits = load_digits()
    x = torch.tensor(digits.images[:1200], dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target[:1200])
    torch.manual_seed(0)
    net: nn.Module = build()  # type: ignore[operator]
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/own"))
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args(arguments)

    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "own_model.py").write_text(FACTORY)
    sys.path.append(str(options.out))  # on the command line the current directory is searched
    from own_model import build  # type: ignore[import-not-found]

    torch.save(trained(build, options.epochs).state_dict(), options.out / "weights.pt")
    write_images(options.out / "images", options.images)

    advice = advisor.recommend(
        options.out / "weights.pt", arch="own_model:build", data=options.out / "images", device="raspberry-pi-4b",
        max_accuracy_drop="2%", trials=options.trials, require_split=True,
    )  # fmt: skip
    print(advice.summary())
    advice.save(options.out)
    print(f"Open {options.out / 'report.html'}")


if __name__ == "__main__":
    main()
