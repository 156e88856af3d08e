"""Knowledge alignment: an inversion network learnt from auxiliary samples (He et al. 2019; Yang et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.estimators.decoders import arrange, decoder_for
from advisor.estimators.images import mse, psnr, ssim
from advisor.estimators.ratios import ratio_of_means
from advisor.estimate import Estimate
from advisor.sweep import ColumnSpec, CutView, NotMeasurableError, Targets


@dataclass(frozen=True)
class Budget:
    """How hard an inversion network is trained.

    Attributes:
        width, depth: of the residual network; width at 32×32 cells, and more where the map is coarser: the same work.
        steps: optimiser steps at most.
        batch: samples a step.
        rate: peak learning rate (AdamW, one cycle).
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


QUICK = Budget(width=24, depth=1, steps=200, batch=48, rate=2e-3, patience=8, settled=0.08)
STRONG = Budget(width=48, depth=4, steps=6000, batch=64, rate=2e-3, patience=8, settled=0.01)
FULL_CELLS = 1024
WIDEST = 8  # times the budget's width
BUDGETS = {"quick": QUICK, "strong": STRONG}
VALIDATION = 0.15


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
        """Mean squared error over that of predicting the attacker's mean; a ratio of means with its delta-method error."""
        return ratio_of_means(self.mse, self.ceiling)


def invert(
    tensors: tuple[Tensor, ...],
    targets: Targets,
    budget: Budget,
    seed: int,
    *,
    tick: Callable[[float], None] | None = None,
) -> Inversion:
    """Train a decoder on `targets.train`, score it on `targets.test`.

    Args:
        tensors: what crosses, each `[n, ...]`, as the cloud receives it.
        targets: what the attacker wants.
        budget: how hard to train.
        seed: of initialisation and batch order.
        tick: called with the fraction done.

    Raises:
        NotMeasurableError: when training diverges: a failed attack says nothing about privacy.
    """
    features, layout = arrange(tensors, targets.pixels, targets.images)
    if not torch.isfinite(features).all():
        raise NotMeasurableError("the crossing tensor holds NaN or infinities")
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        order = targets.train[torch.randperm(len(targets.train))]
        held = max(2, int(VALIDATION * len(order)))
        fit, check = order[held:], order[:held]
        width = width_for(budget, features)
        decoder = decoder_for(features[fit], layout, targets.pixels[fit], width, budget.depth)
        _train(decoder, features, targets.pixels, fit, check, budget, tick)
    with torch.no_grad():
        found = torch.cat([decoder(part) for part in features[targets.test].split(256)])
    return score(found, targets)


def width_for(budget: Budget, features: Tensor) -> int:
    """Channels so that a map of any resolution costs the same arithmetic; vectors get the budget's own width."""
    if features.dim() < 4:
        return budget.width
    cells = features.shape[-1] * features.shape[-2]
    return int(budget.width * min(WIDEST, max(1.0, math.sqrt(FULL_CELLS / cells))))


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


def _train(
    decoder: nn.Module, features: Tensor, pixels: Tensor, fit: Tensor, check: Tensor, budget: Budget,
    tick: Callable[[float], None] | None,
) -> None:  # fmt: skip
    """AdamW with one cycle; keeps the best state on the validation part, the closed-form start included."""
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=budget.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, budget.rate, total_steps=budget.steps, pct_start=0.2)
    best, best_state, worse, step = _error(decoder, features, pixels, check), _state(decoder), 0, 0
    settled = budget.settled * float(mse(pixels[check], pixels[fit].mean(0)).mean())
    while step < budget.steps and worse < budget.patience and best > settled:
        for batch in fit[torch.randperm(len(fit))].split(budget.batch):
            optimiser.zero_grad(set_to_none=True)
            loss = F.mse_loss(decoder(features[batch]), pixels[batch])
            loss.backward()
            nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            step += 1
            if step >= budget.steps:
                break
        error = _error(decoder, features, pixels, check)
        improved = error < best * 0.998
        worse = 0 if improved else worse + 1
        if error < best:
            best, best_state = error, _state(decoder)
        if tick:
            tick(step / budget.steps)
    decoder.load_state_dict(best_state)
    decoder.eval()


def _error(decoder: nn.Module, features: Tensor, pixels: Tensor, indices: Tensor) -> float:
    with torch.no_grad():
        error = float(torch.cat([mse(decoder(features[i]), pixels[i]) for i in indices.split(256)]).mean())
    return error if math.isfinite(error) else math.inf


def _state(decoder: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in decoder.state_dict().items()}


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
        if len(view.targets.train) < 8:
            raise NotMeasurableError("an inversion network needs at least 8 samples to learn from")
        found = invert(view.tensors, view.targets, self.budget, view.seed)
        self.reconstructions[view.cut.index] = found.reconstructions[:8]
        similar = Estimate(math.nan, method="the inputs are not images of at least 7×7 pixels")
        return {
            "ka_mse": Estimate.of_mean(found.mse.numpy(), "x²"),
            "ka_nmse": found.nmse,
            "ka_ssim": similar if found.ssim is None else Estimate.of_mean(found.ssim.numpy()),
        }
