"""What a step of each privacy term costs beside a plain step of the same fit; and an epoch of tuning the cloud half.

python -m benchmarks.defenses.fit_steps

ResNet-20 at `stage2.2`, 128 images a batch, payload 8×8×8, all parts tuned. Plain and defended steps alternate in one
process and the median of their ratios counts, so that what else the computer does falls on both. Limits: 1.2 plain
steps with the closed-form term; 25 s for an epoch of 12,000 images of the cloud half on cached activations.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

import advisor
from advisor.batches import carried
from advisor.defenses.methods import METHODS
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.bottleneck_method import BottleneckMethod
from advisor.defenses.training.defended_model import DefendedModel
from advisor.defenses.training.fit_samples import divided
from advisor.defenses.training.trainer import Schedule, Trainer
from advisor.graph import PartitionGraph
from benchmarks.headline.cases import CASES, resnet20

CUT, BATCH, ROUNDS, EPOCH = "stage2.2.relu#2", 128, 6, 12_000
LIMITS = {"ridge": 1.2}
SECONDS = 25.0
NAMES = ("bottleneck", "ridge", "mid", "adversarial", "infoscissors", "refil")


def task(graph: PartitionGraph, name: str, settings: Mapping[str, Any]) -> FitTask:
    """A fit of few samples with the method's defaults."""
    x = CASES["resnet20-cifar10"].data().owner[0]
    recipe = METHODS[name].complete(settings)
    return FitTask(graph, graph.cut(CUT), (x[:BATCH],), validation=(x[BATCH : 2 * BATCH],), recipe=recipe)


def step_of(graph: PartitionGraph, name: str, settings: Mapping[str, Any]) -> Callable[[], None]:
    """One step of the trainer: forward, all terms, backward, update."""
    method, wanted = METHODS[name], task(graph, name, settings)
    assert isinstance(method, BottleneckMethod)
    torch.manual_seed(0)
    tuned = {"all": ("edge", "cloud"), "cloud": ("cloud",)}[wanted.recipe["tuned"]]
    some = carried(graph, wanted.inputs, 0, wanted.cut.index)
    model = DefendedModel(wanted, *method.parts(wanted, some), tuned, method.chain == "reparam")  # type: ignore[arg-type]
    schedule = Schedule(1, BATCH, 1e-3, 0.2, (0.5, 0.5))
    trainer = Trainer(wanted, model, method.terms(wanted), schedule)
    fit, _ = divided(wanted, model.fixed_edge and not trainer._through_input)
    trainer._prepare(fit)
    moving, optimiser, cycle = trainer._optimiser(len(fit) * 100)

    def step() -> None:
        trainer._epoch(fit, moving, optimiser, cycle, 0)

    return step


def seconds(step: Callable[[], None]) -> float:
    """Wall time of one."""
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def main() -> int:
    x = CASES["resnet20-cifar10"].data().owner[0][:2]
    graph = advisor.trace(resnet20(), x)
    plain = step_of(graph, "bottleneck", {"stride": 2})
    seconds(plain)
    failed = False
    for name in NAMES[1:]:
        step = step_of(graph, name, {"stride": 2})
        seconds(step)
        ratio = statistics.median(seconds(step) / seconds(plain) for _ in range(ROUNDS))
        limit = LIMITS.get(name)
        failed |= limit is not None and ratio > limit
        print(f"{name:<13} {ratio:.2f} plain steps{f'   limit {limit}' if limit else ''}", flush=True)
    cached = step_of(graph, "tuned", {})
    seconds(cached)
    epoch = statistics.median(seconds(cached) for _ in range(ROUNDS)) * EPOCH / BATCH
    print(f"tuned: {epoch:.1f} s an epoch of {EPOCH:,} on {torch.get_num_threads()} threads   limit {SECONDS:g} s")
    return int(failed or epoch > SECONDS)


if __name__ == "__main__":
    sys.exit(main())
