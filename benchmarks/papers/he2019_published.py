"""He, Zhang and Lee 2019, table 1: their rMLE at its own settings, literally.

    nice -n 19 python benchmarks/papers/he2019_published.py            # ten images, as theirs; about ten minutes
    nice -n 19 python benchmarks/papers/he2019_published.py --images 200 --cut relu22

Their code minimises the mean squared mismatch of the features plus λ times the mean squared differences of neighbouring
pixels, in units of normalised pixels, from the mean colour, by Adam with amsgrad and ε = 10⁻³, for 5,000 steps; rates
and λ are in `PUBLISHED`. Ten images: the first of each class among the test images. What differs here: 12,000 images to
train on instead of 50,000, other epochs (`--epochs`), no affine augmentation, products in bfloat16 where the processor
has it (not at conv11).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import torch
from common import Table, accuracy, cifar, train
from he2019 import THEIRS, SixConvolutions
from torch import nn

import advisor
from advisor.estimate import Estimate
from advisor.estimators.images import psnr, ssim
from advisor.estimators.precision import Fast
from advisor.graph import PartitionGraph

MEAN, SPREAD = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
"""Of ImageNet's pixels: what they normalise by."""


@dataclass(frozen=True)
class Setting:
    """Rate of Adam and weight λ of the total variation."""

    rate: float
    smooth: float


PUBLISHED = {"conv11": Setting(1e-2, 0.0), "relu22": Setting(1e-2, 10.0), "relu32": Setting(1e-2, 1000.0)}
PART = 50


class Normalised(nn.Module):
    """A network behind (x - mean) / spread."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the network, of pixels in [0, 1]."""
        return self.network((x - MEAN) / SPREAD)


def variation(x: torch.Tensor) -> torch.Tensor:
    """`[n]`: mean squared difference of vertical neighbours plus that of horizontal ones."""
    down, right = x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]
    return down.square().flatten(1).mean(1) + right.square().flatten(1).mean(1)


def recovered(graph: PartitionGraph, cut: str, x: torch.Tensor, setting: Setting, steps: int) -> torch.Tensor:
    """What rMLE makes of what crosses of `x`, each image for itself."""
    edge, _ = graph.split(graph.cut(cut))
    with torch.no_grad():
        wanted = edge(x)
    half = Fast(edge, cut != "conv11")
    found = torch.zeros_like(x).requires_grad_()
    adam = torch.optim.Adam([found], setting.rate, eps=1e-3, amsgrad=True)
    for _ in range(steps):
        with torch.enable_grad():
            mismatch = (half(found * SPREAD + MEAN) - wanted).square().flatten(1).mean(1)
            loss = (mismatch + setting.smooth * variation(found)).sum()
        (found.grad,) = torch.autograd.grad(loss, [found])
        adam.step()
    return (found.detach() * SPREAD + MEAN).clamp(0, 1)


def target(epochs: int) -> tuple[nn.Module, float]:
    """The full-width network, trained, and its accuracy on test images."""
    torch.manual_seed(0)
    network = Normalised(SixConvolutions(64))
    train(Fast(network), *cifar("train", 12_000), epochs, 1e-3, 0)
    return network.eval().requires_grad_(False), accuracy(network, *cifar("test", 1000))


def images_of(count: int) -> torch.Tensor:
    """The first test image of each class where ten are asked for, else the first test images."""
    x, y = cifar("test", max(200, count))
    return torch.stack([x[(y == label).nonzero()[0, 0]] for label in range(10)]) if count == 10 else x[:count]


def main() -> int:
    """Fill the table and print how far each row is from theirs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--cut", action="append", choices=[*PUBLISHED])
    given = parser.parse_args()
    table, x = Table("he2019_published", 4), images_of(given.images)
    cuts = given.cut or [*PUBLISHED]
    keys = {cut: (cut, str(len(x)), str(given.steps), str(given.epochs)) for cut in cuts}
    known = {tuple(row.values())[:4] for row in table.rows}
    network, right = target(given.epochs) if set(keys.values()) - known else (nn.Identity(), float("nan"))
    graph = advisor.trace(network, x[:2])
    for cut in cuts:

        def measured(cut: str = cut) -> dict[str, str]:
            found = [recovered(graph, f"network.{cut}", part, PUBLISHED[cut], given.steps) for part in x.split(PART)]
            return entry(keys[cut], torch.cat(found), x, right)

        row = table.row(*keys[cut], compute=measured)
        print(f"{cut}: {float(row['psnr_db']) - float(row['their_psnr_db']):+.2f} dB of theirs", flush=True)
    return 0


def entry(key: tuple[str, ...], back: torch.Tensor, x: torch.Tensor, right: float) -> dict[str, str]:
    """One row."""
    cut, images, steps, epochs = key
    decibels = Estimate.of_mean(psnr(back, x).numpy(), "dB")
    theirs = THEIRS["rmle", cut]
    return {
        "cut": cut, "images": images, "steps": steps, "epochs": epochs, "psnr_db": f"{decibels.value:.2f}",
        "psnr_low_90": f"{decibels.low:.2f}", "psnr_high_90": f"{decibels.high:.2f}",
        "ssim": f"{float(ssim(back, x).mean()):.3f}", "their_psnr_db": str(theirs[0]), "their_ssim": str(theirs[1]),
        "rate": f"{PUBLISHED[cut].rate:g}", "smooth": f"{PUBLISHED[cut].smooth:g}", "model_accuracy": f"{right:.3f}",
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
