"""Feature matching: inputs whose features are those that were received, found by gradient descent, all at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.support.loop import Loop
from advisor.measures.flat_rows import flat
from advisor.progress import Progress, silence
from advisor.support.preserve import plain_attention

OUTSIDE = 10.0
"""Weight of what lies outside of [0, 1]; the result is clipped."""

MEMORY = 400 * 2**20
"""Bytes of activations that one step may keep."""


@dataclass(frozen=True)
class Descent:
    """How long and how fast to descend: Adam, with a cosine fall of its rate."""

    steps: int
    rate: float


def features(edge: nn.Module, x: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors that an edge half sends for flat inputs."""
    leaves: list[Any] = pytree.tree_leaves(edge(*x))
    return tuple(t for t in leaves if isinstance(t, Tensor))


def mismatch(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """`[n]`: ‖f(x) − z‖² / ‖z‖² over all tensors that cross, for each sample (Maeng et al. 2022, section 5)."""
    error = sum(flat((a.float() - b.float()).square()).sum(1) for a, b in zip(found, wanted, strict=True))
    energy = sum(flat(b.float().square()).sum(1) for b in wanted)
    return torch.as_tensor(error) / torch.as_tensor(energy).clamp_min(1e-12)


def total_variation(x: Tensor) -> Tensor:
    """`[n]`: mean length of the gradient of images `[n, c, h, w]`, isotropic, the same for all sizes."""
    down = (x[..., 1:, :-1] - x[..., :-1, :-1]).square()
    right = (x[..., :-1, 1:] - x[..., :-1, :-1]).square()
    length: Tensor = (down + right + 1e-6).sqrt().flatten(1).mean(1)
    return length


def prior_of(x: Tensor, mean: Tensor) -> Tensor:
    """`[n]`: how unlike an input is: total variation of images, else the mean square about the attacker's mean."""
    return total_variation(x) if x.dim() == 4 and min(x.shape[-2:]) > 1 else flat((x - mean).square()).mean(1)


def match(
    edge: nn.Module, wanted: Sequence[Tensor], start: Tensor, weight: Tensor, how: Descent, *, mean: Tensor,
    box: bool, file: Path | None = None, tick: Progress = silence,
) -> Tensor:  # fmt: skip
    """Inputs `[n, ...]` of least ‖f(x) − z‖²/‖z‖² + weight · prior, each for itself.

    Args:
        edge: one flat input to the activation, differentiable.
        wanted: what was received, each `[n, ...]`.
        start: `[n, ...]`.
        weight: `[n]` of the prior.
        how: steps and rate.
        mean: `[...]`, of the prior where inputs are no images.
        box: whether inputs lie in [0, 1].
        file: what a killed descent goes on from.
        tick: called with the fraction done.

    Raises:
        NotMeasurableError: when the descent diverges.
    """
    x = start.clone().requires_grad_()

    def loss() -> Tensor:
        total = mismatch(features(edge, (x,)), wanted) + weight * prior_of(x, mean)
        outside = flat((x - x.clamp(0, 1)).square()).mean(1) if box else 0.0
        return total + OUTSIDE * outside

    descend([x], loss, how, file=file, tick=tick)
    return x.detach().clamp(0, 1) if box else x.detach()


def descend(
    parameters: list[Tensor], loss: Callable[[], Tensor], how: Descent, *, error: Callable[[], float] | None = None,
    file: Path | None = None, tick: Progress = silence, pace: tuple[int | None, int] | None = None,
) -> Loop:  # fmt: skip
    """Adam on a loss, in place; gradients go to the parameters alone, whatever else the loss depends on.

    Args:
        parameters: what is descended on.
        loss: `[n]`, each for itself.
        how: steps and rate.
        error: what is to be lowered by it, where that is not the loss itself.
        file, tick, pace: see `Loop`.

    Raises:
        NotMeasurableError: when the loss is not finite, or ends above its start.
    """
    optimiser = torch.optim.Adam(parameters, how.rate)

    def total() -> float:
        with torch.no_grad(), plain_attention():
            return float(loss().sum())

    def step(at: float) -> Tensor:
        with torch.enable_grad(), plain_attention():
            value = loss()
            gradients = torch.autograd.grad(value.sum(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimiser.param_groups[0]["lr"] = how.rate * 0.5 * (1 + math.cos(math.pi * at / how.steps))
        optimiser.step()
        return value

    first = total()
    loop = Loop(how.steps, parameters, [optimiser], file=file, tick=tick, pace=pace)
    loop.run(step, error)
    if not total() <= first * (1 + 1e-6):
        raise NotMeasurableError("the descent ended above its start: this says nothing about privacy")
    return loop


def batch_rows(bytes_per_sample: float) -> int:
    """Samples that one step may take, from what the edge half keeps for a sample."""
    return max(1, min(256, int(MEMORY / max(bytes_per_sample, 1.0))))
