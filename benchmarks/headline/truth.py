"""What a strong inversion attack recovers at every block cut, bare and under noise: one row an attack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from advisor.batches import carried
from advisor.cut_view import Targets
from advisor.cuts import Cut
from advisor.estimators.inversion.alignment import FEWEST_CHECKS, VALIDATION, Inversion, score, surely_better
from advisor.estimators.inversion.training import Budget, recover, train_all
from advisor.estimators.study.gpz import block_cuts
from advisor.estimators.study.study_samples import mean_image_ssim, targets_for
from advisor.graph import PartitionGraph
from advisor.measures.decoders.activation_layouts import arrange
from advisor.measures.decoders.decoder import Decoder
from advisor.measures.decoders.usual_decoders import decoders_for
from benchmarks.headline.cases import Case, Data

AUXILIARY = 3000
"""Samples the attacker learns from, at most; the `strong` attack has 8,000."""

REDUCED = Budget(width=32, depth=2, steps=300, epochs=80, batch=64, rate=0.03, checks=12, patience=4, settled=0.02)
"""A reduced strong attack: 4 convolutions of 32 to 128 channels, 300 steps; `strong` has 8 of 48 to 192 and 6,000.

On images of 16 pixels and less the width is halved: the same channels a pixel."""

NOISES = (0.0, 1.0, 0.3)
"""Standard deviation of Gaussian noise on z, in units of the root mean variance of its elements; in order of work."""


@dataclass(frozen=True)
class Attacked:
    """One attack.

    Attributes:
        net: name of the case.
        cut: name of the cut.
        index: of the cut, among `cuts` of the whole graph.
        depth: index over the last index, 0 to 1.
        elements: D of the activation.
        inputs: d of one input.
        noise: relative, see `NOISES`.
        sigma: the same in units of z.
        nmse, stderr: error over that of the attacker's mean, and its standard error over held-out samples.
        ssim: mean over held-out images; NaN where inputs are no images of at least 7×7.
        floor_ssim: SSIM of the attacker's mean image.
        learnt, scored: samples the attacker learnt from, and was scored on.
        steps: optimiser steps at most.
        seconds: CPU time of the attack on one core.
    """

    net: str
    cut: str
    index: int
    depth: float
    elements: int
    inputs: int
    noise: float
    sigma: float
    nmse: float
    stderr: float
    ssim: float
    floor_ssim: float
    learnt: int
    scored: int
    steps: int
    seconds: float


def attacked_cuts(graph: PartitionGraph) -> list[Cut]:
    """The cuts that close a block, and the last before the output."""
    indices = sorted({*block_cuts(graph.cuts, 3), len(graph.cuts) - 2})
    return [graph.cuts[i] for i in indices]


def attacks(
    case: Case, graph: PartitionGraph, data: Data, budget: Budget, noises: Sequence[float],
    done: set[tuple[str, float]], seed: int = 0,
) -> Iterator[Attacked]:  # fmt: skip
    """Attack every cut at these noise levels, those in `done` (cut name, noise) left out."""
    inputs = graph.flat(data.unseen[0])
    targets = private_targets(graph, inputs, data.unseen[1], seed)
    floor = mean_image_ssim(targets)
    for cut in attacked_cuts(graph):
        missing = [noise for noise in noises if (cut.name, noise) not in done]
        bare = carried(graph, inputs, 0, cut.index) if missing else ()
        for noise in missing:
            started = time.process_time()
            sent, sigma = noisy(bare, noise, seed)
            found = invert(sent, targets, sized(budget, targets), seed)
            estimate = found.nmse
            similar = float("nan") if found.ssim is None else float(found.ssim.mean())
            yield Attacked(
                case.name, cut.name, cut.index, cut.index / (len(graph.cuts) - 1), cut.elements, targets.elements,
                noise, sigma, estimate.value, estimate.stderr, similar, floor, len(targets.train), len(targets.test),
                budget.steps, time.process_time() - started,
            )  # fmt: skip


def sized(budget: Budget, targets: Targets) -> Budget:
    """The budget for images of this size."""
    small = targets.images and max(targets.pixels.shape[-2:]) <= 16
    return replace(budget, width=budget.width // 2) if small else budget


def private_targets(graph: PartitionGraph, inputs: tuple[Tensor, ...], labels: Tensor, seed: int) -> Targets:
    """Three quarters to learn from, 3,000 at most, and the rest to be scored on."""
    targets = targets_for(graph, inputs, labels, seed)
    return replace(targets, train=targets.train[:AUXILIARY])


def noisy(sent: tuple[Tensor, ...], noise: float, seed: int) -> tuple[tuple[Tensor, ...], float]:
    """Tensors with Gaussian noise, and its standard deviation in units of z."""
    if noise == 0:
        return sent, 0.0
    count = sum(t[0].numel() for t in sent)
    variance = sum(float(t.flatten(1).var(0).sum()) for t in sent) / count
    sigma = noise * variance**0.5
    generator = torch.Generator().manual_seed(seed)
    return tuple(t + sigma * torch.randn(t.shape, generator=generator) for t in sent), sigma


class Half(nn.Module):
    """A network whose matrix products run in bfloat16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """As the network, in float32."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.network(x).float()  # type: ignore[no-any-return]


def invert(sent: tuple[Tensor, ...], targets: Targets, budget: Budget, seed: int) -> Inversion:
    """As `alignment.invert`, with the network's products in bfloat16: four times faster here."""
    features, layout = arrange(sent, targets.pixels, targets.images)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        order = targets.train[torch.randperm(len(targets.train))]
        held = max(int(VALIDATION * len(order)), min(FEWEST_CHECKS, len(order) // 3))
        fit, check = order[held:], order[:held]
        fitting = decoders_for(features, layout, targets.pixels, order, budget.width, budget.depth)
        decoders = [partial(_halved, make) for make in fitting]
        blend = train_all(decoders, targets.pixels, fit, check, budget)
        mean = targets.pixels[order].mean(0)
        if not surely_better(recover(blend, check), targets.pixels[check], mean):
            return score(mean.expand(len(targets.test), *mean.shape), targets)
        for member in blend:
            member.decoder.solve_again(order)
        return score(recover(blend, targets.test), targets)


def _halved(make: Callable[[], Decoder]) -> Decoder:
    decoder = make()
    decoder.network = Half(decoder.network)  # type: ignore[misc]
    return decoder
