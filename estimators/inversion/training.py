"""How inversion networks are trained: one cycle on what the closed form leaves, the best state on held-back samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.errors import NotMeasurableError
from advisor.estimators.inversion.descent import Batches, Descent
from advisor.estimators.inversion.fast_products import Fast
from advisor.estimators.inversion.optimiser import OneCycle, Plateau
from advisor.measures.decoders.decoder import Decoder
from advisor.measures.decoders.standard import Features
from advisor.progress import Progress, part, silence
from advisor.support.threads import Spread, side_by_side

SALT = 1_000_003
"""Between the draws of one decoder and those of the next: more than a training has steps."""

_CHUNK = 64
"""Samples that a network is asked for at once: more fall out of the cache."""

CURVE = 512
"""Samples held back that a network is tried on, at most: its error is compared with its own on the same ones."""

UNLIKE = 1.25
"""Error on further samples, over that on samples held back, from which on they are of another kind: photographs in the
mirror reach 1.06, digits start at 1.5."""


@dataclass(frozen=True)
class Budget:
    """How hard an inversion network is trained.

    Attributes:
        width, depth: of the residual network; width at 32×32 cells, and more where the map is coarser: the same work.
        steps: optimiser steps at most.
        epochs: passes over the samples at most: with a few of them the network only learns them by heart.
        batch: samples a step.
        rate: peak learning rate (Muon, one cycle).
        checks: how often in all the network is tried on samples held back.
        patience: checks without improvement after which training stops.
        settled: NMSE on these samples below which training stops: the answer is known.
        flat: gain from check to check that counts, as a share of the error; where given, the rate stays up until
            `patience` checks gained less, and then falls: how long training takes follows the cut; checks are then
            `steps / checks` apart, however few samples there are. None: one cycle.
        fast: products in bfloat16 where the processor has it.
        parts: in which a batch of maps is worked on side by side; gradients add up in their order.
        auxiliary, held_out: samples that the attack takes at most to learn from and to be scored on; None for all.
        seed: that the attack is run with where it stands for a predicted one.
        mirrored: whether images are also learnt from in the mirror, where they look alike in it: an attacker may send
            those too.
    """

    width: int
    depth: int
    steps: int
    epochs: int
    batch: int
    rate: float
    checks: int
    patience: int
    settled: float
    flat: float | None = None
    fast: bool = False
    parts: int = 1
    auxiliary: int | None = None
    held_out: int | None = None
    seed: int = 0
    mirrored: bool = False


Anew = Callable[[Tensor, int], Tensor]
"""Other features of the samples at these positions, as arranged: what is random on their way drawn for this step."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained decoder.

    Attributes:
        decoder: what it was made of.
        network: in its best state, as it was trained.
        scale: of the network's output: the root mean square of what the linear part leaves on held-back samples.
        nmse: on held-back samples.
        steps: of the optimiser that were taken.
        stopped: when, in words that go on from "it stopped".
        share: in the blend of decoders; all shares sum to 1.
    """

    decoder: Decoder
    network: nn.Module
    scale: float
    nmse: float
    steps: int = 0
    stopped: str = "before it began, as its linear part was exact"
    share: float = 1.0

    def recover(self, index: Tensor) -> Tensor:
        """Its reconstructions `[len(index), ...]`, unclipped."""
        if self.scale == 0:
            return self.decoder.picture(index)
        with torch.no_grad(), side_by_side() as spread:
            return torch.cat(list(spread(self._corrected, torch.split(index, _CHUNK))))

    def _corrected(self, index: Tensor) -> Tensor:
        decoder = self.decoder
        return decoder.picture(index, self.scale * self.network(decoder.features[index]))


def recover(blend: list[Trained], index: Tensor) -> Tensor:
    """Reconstructions `[len(index), ...]` by all decoders together, unclipped."""
    return torch.stack([member.share * member.recover(index) for member in blend]).sum(0)


def train_all(
    decoders: Sequence[Callable[[], Decoder]], pixels: Tensor, fit: Tensor, check: Tensor, budget: Budget,
    tick: Progress = silence, folder: Path | None = None, more: Tensor | None = None,
    *, anew: Anew | None = None,
) -> list[Trained]:  # fmt: skip
    """Train decoders until one settles the question; each new one enters with the share that serves `check` best.

    Args:
        decoders: at least one, made when its turn has come.
        pixels: the targets of all samples.
        fit, check: samples to learn from, and to stop, choose and blend by.
        budget: how hard to train.
        tick: called with the fraction done.
        folder: where the state of each training is kept, to resume from after a kill.
        more: samples that networks, though not their linear parts, learn from beside `fit`, where they are alike.
        anew: networks learn from these draws of their features, no two alike; None: from the features as they are.

    Raises:
        NotMeasurableError: training diverged.
    """
    blend: list[Trained] = []
    for number, make in enumerate(decoders):
        file = None if folder is None else folder / f"decoder{number}.pt"
        told = part(tick, number / len(decoders), 1 / len(decoders))
        new = train(make(), fit, check, budget, told, file, more, anew=_salted(anew, number))
        share = 1.0
        if blend:
            found = recover(blend, check)
            apart = new.recover(check) - found
            gained = float(((pixels[check] - found) * apart).sum())
            share = min(1.0, max(0.0, gained / max(float(apart.square().sum()), 1e-30)))
        blend = [replace(b, share=b.share * (1 - share)) for b in blend] + [replace(new, share=share)]
        if new.nmse <= budget.settled:
            break
    return blend


def _salted(anew: Anew | None, number: int) -> Anew | None:
    """Each decoder sees draws of its own."""
    return None if anew is None else lambda index, step: anew(index, SALT * number + step)


def train(
    decoder: Decoder, fit: Tensor, check: Tensor, budget: Budget, tick: Progress = silence,
    file: Path | None = None, more: Tensor | None = None, *, anew: Anew | None = None,
) -> Trained:  # fmt: skip
    """Solve the linear part, then train the network on what it leaves, unless that settles the question."""
    decoder.solve(fit, check)
    check, network = check[:CURVE], Fast(decoder.network, budget.fast)
    left, outside = decoder.left(check)
    goal = decoder.goal[check]
    energy, ceiling, beyond = float(left.square().sum()), float(goal.square().sum()), outside * goal.numel()
    if energy <= 0 or energy + beyond <= budget.settled * ceiling:
        return Trained(decoder, network, 0.0, (energy + beyond) / ceiling if ceiling > 0 else 0.0)
    scale = math.sqrt(energy / left.numel())
    enough = (budget.settled * ceiling - beyond) / energy
    if more is not None and _alike(decoder, more, energy / left.numel()):
        fit = torch.cat([fit, more])
    lessons = Lessons(decoder, network, fit, scale, anew)
    run = _descend(lessons, check, left / scale, enough, budget, tick, file)
    nmse = (run.best * energy + beyond) / ceiling if ceiling > 0 else math.inf
    return Trained(decoder, network, scale, nmse, run.cycle.taken, _reason(run, enough))


def _alike(decoder: Decoder, more: Tensor, error: float) -> bool:
    """Whether the linear part, which has seen none of them, does as well on them: mirrored digits are no digits."""
    return float(decoder.left(more)[0].square().mean()) <= UNLIKE * error


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a network learns from: for each batch of samples a loss.

    Attributes:
        decoder: whose network it is.
        network: as it is trained.
        fit: the samples.
        scale: of what the network corrects.
        anew: see `train_all`.
    """

    decoder: Decoder
    network: nn.Module
    fit: Tensor
    scale: float
    anew: Anew | None

    @cached_property
    def goal(self) -> Tensor:
        """What the linear part leaves of the features as they are."""
        return self.decoder.left(self.fit)[0] / self.scale

    def of(self, batch: Tensor, step: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """The loss of a part of a batch of positions in `fit`, and what it takes for the whole batch."""
        if self.anew is None:
            return self._of_known, batch
        rows = self.fit[batch]
        z, left = self.decoder.again(rows, self.anew(rows, step))
        wanted = left / self.scale
        return lambda part: F.mse_loss(self.network(z[part]), wanted[part]), torch.arange(len(batch))

    def _of_known(self, part: Tensor) -> Tensor:
        return F.mse_loss(self.network(self.decoder.features[self.fit[part]]), self.goal[part])


def _descend(
    lessons: Lessons, check: Tensor, goal: Tensor, enough: float, budget: Budget, tick: Progress,
    file: Path | None,
) -> Descent:  # fmt: skip
    """One training; leaves the network in its best state on `check`, the zero start included."""
    network, count = lessons.network, len(lessons.fit)
    most = min(budget.steps, budget.epochs * math.ceil(count / budget.batch))
    every = math.ceil((most if budget.flat is None else budget.steps) / budget.checks)
    parts = budget.parts if goal.dim() == 4 else 1
    with side_by_side() as spread:
        kind = OneCycle if budget.flat is None else Plateau
        cycle, batches = kind(network, budget.rate, most, spread=spread), Batches(count, budget.batch)
        run = Descent(network, cycle, batches, file, budget.patience, budget.flat)
        while cycle.taken < cycle.steps and not run.flat and run.best > enough:
            for _ in range(min(every, cycle.steps - cycle.taken)):
                loss, batch = lessons.of(batches.next(), cycle.taken)
                cycle.step_in_parts(loss, batch, parts)
            run.checked(_error(network, lessons.decoder.features, check, goal, spread))
            tick(min(1.0, cycle.taken / cycle.steps))
    network.load_state_dict(run.state)
    return run


def _reason(run: Descent, enough: float) -> str:
    if run.best <= enough:
        return "when its error was small enough"
    return "when its error fell no more" if run.flat or run.turned else "after the most steps it may take"


def _error(network: nn.Module, features: Features, index: Tensor, goal: Tensor, spread: Spread) -> float:
    def squared(part: Tensor, wanted: Tensor) -> float:
        return float((network(features[part]) - wanted).square().sum())

    with torch.no_grad():
        error = sum(spread(squared, torch.split(index, _CHUNK), torch.split(goal, _CHUNK))) / goal.numel()
    if not math.isfinite(error):
        raise NotMeasurableError("the inversion network diverged: this says nothing about privacy")
    return error
