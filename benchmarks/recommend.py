"""Wall time of one recommendation without data, in single-image forward passes of the same model in the same run.

python benchmarks/recommend.py [torchvision:resnet18]

The limit: every cut must be crossed by every sample at least once (one forward pass a sample) and each of the 40 trials
runs the cloud half on the evaluation samples; at ResNet-18 that is about 64 + 40 · 64 · share of the cloud half.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time

import torch

import advisor
from advisor.loading import load_model


def single_pass(name: str, repeats: int = 30) -> float:
    """Median seconds of one image through the model."""
    loaded = load_model(name)
    model, example = loaded.model, loaded.example_inputs
    assert isinstance(model, torch.nn.Module)
    assert example is not None
    image = example[0][:1]
    with torch.no_grad():
        model(image)
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            model(image)
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def main(name: str = "torchvision:resnet18") -> None:
    """Print the breakdown per stage and the ratio."""
    before = single_pass(name)
    started = time.perf_counter()
    advice = advisor.recommend(name, device="jetson")
    wall = time.perf_counter() - started
    forward = statistics.mean((before, single_pass(name)))
    print(f"{'stage':10}{'seconds':>9}{'passes':>9}")
    for stage, seconds in advice.provenance["stages"].items():
        print(f"{stage:10}{seconds:9.1f}{seconds / forward:9.0f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'all':10}{wall:9.1f}{wall / forward:9.0f}   (target: at most 4,000 passes and 180 s on two cores)")
    print(f"one pass {forward * 1e3:.1f} ms, {torch.get_num_threads()} threads; peak memory {peak:.2f} GiB (target 3)")


if __name__ == "__main__":
    main(*sys.argv[1:])
