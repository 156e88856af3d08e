"""Knowledge alignment: an inversion network learnt from auxiliary samples (He et al. 2019; Yang et al. 2019)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.estimate import Estimate
from advisor.estimators.decoders import Decoder, decoders_for
from advisor.estimators.images import mse, psnr, ssim
from advisor.estimators.layouts import arrange
from advisor.estimators.optimiser import OneCycle
from advisor.estimators.ratios import ratio_of_means
from advisor.sweep import ColumnSpec, CutView, NotMeasurableError, Targets

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Budget:
    """How hard an inversion network is trained.

    Attributes:
        width, depth: of the residual network; width at 32×32 cells, and more where the map is coarser: the same work.
        steps: optimiser steps at most.
        batch: samples a step.
        rate: peak learning rate (Muon, one cycle).
        patience: epochs without improvement on a validation part after which training stops.
        settled: validation NMSE below which training stops: the answer is known.
    """

    width: int
    depth: int
    steps: int
    batch: int
    rate: float
    patience: int
    settled: float


QUICK = Budget(width=24, depth=1, steps=120, batch=48, rate=0.05, patience=5, settled=0.08)
STRONG = Budget(width=48, depth=4, steps=6000, batch=64, rate=0.02, patience=8, settled=0.01)
BUDGETS = {"quick": QUICK, "strong": STRONG}

VALIDATION = 0.15
FEWEST_CHECKS = 12
FEWEST = 8


@dataclass(frozen=True, eq=False)
class Inversion:
    """What an inversion recovered on held-out samples: reconstructions `[test, ...]` and per-sample scores `[test]`."""

    reconstructions: Tensor
    mse: Tensor
    ssim: Tensor | None
    psnr: Tensor
    ceiling: Tensor

    @property
    def nmse(self) -> Estimate:
        """Mean squared error over that of predicting the attacker's mean, with the delta-method error of the ratio."""
        return ratio_of_means(self.mse, self.ceiling)


def invert(
    tensors: tuple[Tensor, ...], targets: Targets, budget: Budget, seed: int, *, tick: Tick | None = None
) -> Inversion:
    """Train a decoder on `targets.train`, score it on `targets.test`.

    Args:
        tensors: what crosses, each `[n, ...]`, as the cloud receives it.
        targets: what the attacker wants.
        budget: how hard to train.
        seed: of initialisation and batch order.
        tick: called with the fraction done.

    Raises:
        NotMeasurableError: too few samples, nothing to reconstruct, NaN in what crosses, or training that diverges: a
            failed attack says nothing about privacy.
    """
    _check(tensors, targets)
    features, layout = arrange(tensors, targets.pixels, targets.images)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        order = targets.train[torch.randperm(len(targets.train))]
        held = max(int(VALIDATION * len(order)), min(FEWEST_CHECKS, len(order) // 3))
        fit, check = order[held:], order[:held]
        decoders = decoders_for(features, layout, targets.pixels, order, budget.width, budget.depth)
        parts = torch.split(targets.test, 256)
        blend = _blend(decoders, fit, check, targets, budget, tick)
        mean = targets.pixels[order].mean(0)
        if not _surely_better(_recover(blend, check), targets.pixels[check], mean):
            blend = []
        for decoder, _, _ in blend:
            decoder.solve_again(order)
        found = [_recover(blend, index) if blend else mean.expand(len(index), *mean.shape) for index in parts]
    return score(torch.cat(found), targets)


def score(found: Tensor, targets: Targets) -> Inversion:
    """Score reconstructions `[test, ...]` of the held-out samples; images are clipped to [0, 1] first."""
    original = targets.pixels[targets.test]
    if not torch.isfinite(found).all():
        raise NotMeasurableError("the inversion network diverged: this says nothing about privacy")
    found = found.clamp(0, 1) if targets.images else found
    similar = None
    if targets.images:
        try:
            similar = ssim(found, original)
        except NotMeasurableError:
            similar = None
    return Inversion(found, mse(found, original), similar, psnr(found, original), targets.ceiling)


def _check(tensors: tuple[Tensor, ...], targets: Targets) -> None:
    if len(targets.train) < FEWEST:
        raise NotMeasurableError(
            f"an inversion network needs at least {FEWEST} samples to learn from, not {len(targets.train)}"
        )
    if not float(targets.ceiling.mean()) > 0:
        raise NotMeasurableError(f"every scored input equals the mean of the others ({targets.note or 'as given'})")
    if not all(torch.isfinite(t).all() for t in tensors):
        raise NotMeasurableError("the crossing tensor holds NaN or infinities")


Blend = list[tuple[Decoder, float, float]]
"""Trained decoders, each with the scale of its network's output and its share in the reconstruction."""


def _blend(
    decoders: Iterable[Decoder], fit: Tensor, check: Tensor, targets: Targets, budget: Budget, tick: Tick | None
) -> Blend:
    """Train decoders until one settles the question; each new one enters with the share that serves `check` best."""
    blend: Blend = []
    wanted, found = targets.pixels[check], torch.zeros(())
    for decoder in decoders:
        error, scale = _train(decoder, fit, check, budget, tick)
        new = _recover([(decoder, scale, 1.0)], check)
        apart = new - found
        share = float(((wanted - found) * apart).sum() / apart.square().sum().clamp_min(1e-30)) if blend else 1.0
        share = min(1.0, max(0.0, share))
        found = found + share * apart
        blend = [(d, s, w * (1 - share)) for d, s, w in blend] + [(decoder, scale, share)]
        if error <= budget.settled:
            break
    return blend


def _surely_better(found: Tensor, wanted: Tensor, mean: Tensor) -> bool:
    """Whether the gain over predicting the mean is at least two standard errors: few samples favour something by chance."""
    gain = (mse(mean, wanted) - mse(found, wanted)).double()
    return float(gain.mean()) >= 2 * float(gain.std()) / math.sqrt(len(gain))


def _recover(blend: Blend, index: Tensor) -> Tensor:
    """Reconstructions `[len(index), ...]`, unclipped."""
    parts = [w * d.picture(index, s * d.network(d.features[index])) for d, s, w in blend]
    return torch.stack(parts).sum(0)


def _train(decoder: Decoder, fit: Tensor, check: Tensor, budget: Budget, tick: Tick | None) -> tuple[float, float]:
    """Solve the linear part, then train the network on what it leaves.

    Returns:
        NMSE on `check`, and the scale of the network's output: the root mean square of what the linear part leaves.
    """
    decoder.solve(fit, check)
    left, outside = decoder.left(check)
    energy, ceiling = float(left.square().sum()), float(decoder.goal[check].square().sum())
    beyond = outside * decoder.goal[check].numel()
    if energy + beyond <= budget.settled * ceiling:
        return (energy + beyond) / ceiling if ceiling > 0 else 0.0, 0.0
    scale = math.sqrt(energy / left.numel())
    enough = (budget.settled * ceiling - beyond) / energy
    best = _descend(decoder, fit, check, (decoder.left(fit)[0] / scale, left / scale), enough, budget, tick)
    return (best * energy + beyond) / max(ceiling, 1e-30), scale


def _descend(
    decoder: Decoder, fit: Tensor, check: Tensor, goals: tuple[Tensor, Tensor], enough: float, budget: Budget,
    tick: Tick | None,
) -> float:  # fmt: skip
    """One cycle; leaves the network in its best state on `check` and returns its mean squared error there."""
    network, best, worse = decoder.network, 1.0, 0
    state = copy.deepcopy(network.state_dict())
    cycle = OneCycle(network, budget.rate, budget.steps)
    while cycle.taken < budget.steps and worse < budget.patience and best > enough:
        for batch in torch.split(torch.randperm(len(fit)), budget.batch)[: budget.steps - cycle.taken]:
            with torch.enable_grad():
                cycle.step(F.mse_loss(network(decoder.features[fit[batch]]), goals[0][batch]))
        error = _error(network, decoder.features, check, goals[1])
        worse = 0 if error < 0.998 * best else worse + 1
        if error < best:
            best, state = error, copy.deepcopy(network.state_dict())
        if tick:
            tick(cycle.taken / budget.steps)
    network.load_state_dict(state)
    return best


def _error(network: nn.Module, features: Tensor, index: Tensor, goal: Tensor) -> float:
    parts = zip(torch.split(index, 256), torch.split(goal, 256), strict=True)
    error = sum(float((network(features[i]) - g).square().sum()) for i, g in parts) / goal.numel()
    if not math.isfinite(error):
        raise NotMeasurableError("the inversion network diverged: this says nothing about privacy")
    return error


class QuickAlignment:
    """Columns of the quick inversion: `ka_mse`, `ka_nmse`, `ka_ssim` on held-out samples."""

    columns = (
        ColumnSpec("ka_mse", "x²", "high", "measured", "quick inversion network, per element, held-out samples"),
        ColumnSpec("ka_nmse", "1", "high", "measured", "ka_mse over the error of predicting the attacker's mean"),
        ColumnSpec("ka_ssim", "1", "low", "measured", "quick inversion network, 7×7 window, data range 1, held-out"),
    )

    def __init__(self, budget: Budget = QUICK) -> None:
        self.budget = budget
        self.reconstructions: dict[int, Tensor] = {}

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Train and score at one cut; keeps the first few reconstructions for the report."""
        found = invert(view.tensors, view.targets, self.budget, view.seed)
        self.reconstructions[view.cut.index] = found.reconstructions[:8]
        similar = Estimate(math.nan, method="the inputs are not images of at least 7×7 pixels")
        return {
            "ka_mse": Estimate.of_mean(found.mse.numpy(), "x²"),
            "ka_nmse": found.nmse,
            "ka_ssim": similar if found.ssim is None else Estimate.of_mean(found.ssim.numpy()),
        }
