"""Samples moved to match BatchNorm statistics, as in DeepInversion: no data needed but what the model remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advisor.progress import Progress, part, silence

Statistics = tuple[Tensor, Tensor]
"""Mean and variance per channel."""
Run = Callable[[Tensor, Callable[[Any, Tensor], None]], object]
"""Runs the model on a batch and hands over (key, input of that batch normalisation) for each."""

LEARNING_RATE = 0.05


@dataclass(frozen=True)
class Fit:
    """Refined samples `[N, ...]`, and the mismatch of their statistics before and after."""

    x: Tensor
    before: float
    after: float


def mismatch(value: Tensor, statistics: Statistics) -> Tensor:
    """‖mean − running mean‖₂ + ‖var − running var‖₂ over channels (dimension 1), as in DeepInversion's R_feature.

    Yin et al., "Dreaming to Distill", CVPR 2020, equation 4.
    """
    value = value.float()
    axes = [d for d in range(value.dim()) if d != 1]
    variance, mean = torch.var_mean(value, dim=axes, correction=0)
    distance = torch.linalg.vector_norm(mean - statistics[0])
    total: Tensor = distance + torch.linalg.vector_norm(variance - statistics[1])
    return total


def from_batchnorm_statistics(
    run: Run,
    statistics: Mapping[Any, Statistics],
    x: Tensor,
    steps: int,
    *,
    seed: int = 0,
    batch: int = 16,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    progress: Progress = silence,
) -> Fit:
    """Move samples so that the batch statistics before each BatchNorm match what the model saw in training.

    Adam on the pixels (Yin et al. 2020, with few steps from a prior instead of thousands from noise). Each batch is
    matched by itself; of each batch the best iterate is kept, so the mismatch never grows.

    Args:
        run: runs the model on a batch `[B, ...]` and hands over the input of each batch normalisation, by key.
        statistics: running mean and variance of each, by the same keys.
        x: starting samples `[N, ...]`, N of at least 2.
        steps: gradient steps per batch; each costs about three forward passes of the batch.
        seed: of the circular shifts that keep images free of grid artefacts.
        batch: samples that share one set of statistics; bounds the memory.
        bounds: range the samples are clamped to, or None.
        progress: told the share of the steps that is done.
    """
    parts = list(torch.split(x, _even(len(x), batch)))
    before = after = 0.0
    for i, rows in enumerate(parts):
        generator = torch.Generator().manual_seed(seed + i)
        parts[i], first, last = _match(
            run, statistics, rows, steps, bounds, generator, part(progress, i / len(parts), 1 / len(parts))
        )
        before, after = before + first * len(rows) / len(x), after + last * len(rows) / len(x)
    return Fit(torch.cat(parts), before, after)


def _even(n: int, batch: int) -> int:
    """A batch size that leaves no remainder of one sample, whose variance would mean nothing."""
    size = min(max(batch, 2), n)
    while size < n and n % size == 1:
        size += 1
    return size


def _match(
    run: Run,
    statistics: Mapping[Any, Statistics],
    start: Tensor,
    steps: int,
    bounds: tuple[float, float] | None,
    generator: torch.Generator,
    progress: Progress,
) -> tuple[Tensor, float, float]:
    def loss_of(value: Tensor) -> Tensor:
        parts: list[Tensor] = []
        run(value, lambda key, seen: parts.append(mismatch(seen, statistics[key])))
        return torch.stack(parts).sum()

    x = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=LEARNING_RATE, betas=(0.5, 0.9))
    best, first, lowest = start, float("nan"), float("inf")
    for step in range(steps + 1):
        with torch.enable_grad():
            loss = loss_of(_shifted(x, generator) if step else x)
        value = float(loss.detach())
        first = value if step == 0 else first
        if value < lowest:
            best, lowest = x.detach().clone(), value
        if step == steps or not value < float("inf"):
            break
        (x.grad,) = torch.autograd.grad(loss, x)
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / (steps + 1))
        optimiser.step()
        if bounds is not None:
            x.data.clamp_(*bounds)
        progress((step + 1) / steps)
    return best, first, min(lowest, first)


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images rolled by up to two pixels; other samples as they are."""
    if x.dim() != 4 or min(x.shape[2:]) < 8:
        return x
    down, right = (int(s) for s in torch.randint(-2, 3, (2,), generator=generator))
    return x.roll((down, right), (2, 3))
