"""`pmc`: passive model completion (Fu et al., USENIX Security 2022): a head from few labels and many samples without.

MixMatch (Berthelot et al. 2019) on the features that crossed. The private samples count among those without a label:
the attacker received them. Here the activation is given and read as it is; `pmc-tuned` fine-tunes what reads it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.attack_versions import version_of
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.mlp import DECAY, LABELLED, known_labels, perceptron, said
from advisor.estimators.attacks.support.label_features import LabelFeatures, label_features
from advisor.estimators.attacks.support.loop import Loop

STEPS = {"quick": 600, "strong": 5000}
BATCH = 64
RATE, AVERAGE = 2e-3, 0.99
TUNED = 0.1
"""Rate of what was trained before, as a share."""
ALPHA, TEMPERATURE, WEIGHT = 0.75, 0.8, 50.0
"""Of mixing, of sharpening, and of the samples without a label, as in their code."""

DROPOUT, VIEWS = 0.2, 2
CHUNK = 256
"""Samples that a head is asked for at once."""
HIDDEN: tuple[int, ...] = ()


@dataclass(frozen=True)
class ModelCompletion:
    """Semi-supervised; a head of one layer, as is their default."""

    name: ClassVar[str] = "pmc"
    about: ClassVar[str] = "passive model completion: few labels, many samples without (Fu et al., USENIX Sec 2022)"
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = LABELLED
    version: ClassVar[int] = version_of("pmc")

    def run(self, context: AttackContext) -> Recovered:
        """Train with MixMatch, answer with the averaged weights."""
        read = label_features(context)
        labels = known_labels(context)
        head = perceptron(read.own.shape[1], HIDDEN, context.classes)
        steady = mixmatch(head, Pool.of(read, labels, context.classes), context)
        with torch.no_grad():
            return Recovered(labels=steady(read.seen).softmax(1), notes=(said(labels),))


@dataclass(frozen=True, eq=False)
class Pool:
    """Samples with a label and without.

    Attributes:
        read: features of all.
        rows: `[m]` positions of the attacker's own that have a label.
        wanted: `[m, classes]` these labels, one-hot.
        others: `[u]` positions of its own that have none; the private ones have none either.
    """

    read: LabelFeatures
    rows: Tensor
    wanted: Tensor
    others: Tensor

    @classmethod
    def of(cls, read: LabelFeatures, labels: Tensor, classes: int) -> Pool:
        """By labels `[n]` of the attacker's own samples, -1 for none."""
        shown, hidden = (torch.nonzero(which).flatten() for which in (labels >= 0, labels < 0))
        return cls(read, shown, F.one_hot(labels[shown], classes).float(), hidden)

    def labelled(self, count: int, number: int) -> tuple[Tensor, Tensor]:
        """A random batch, and its labels; what is random is drawn for the step of that number."""
        few = torch.randint(len(self.rows), (count,))
        return self.read.anew(self.rows[few], 2 * number), self.wanted[few]

    def unlabelled(self, count: int, number: int) -> Tensor:
        """A random batch of those without a label."""
        many = torch.randint(len(self.others) + len(self.read.seen), (count,))
        own, private = many[many < len(self.others)], many[many >= len(self.others)] - len(self.others)
        return torch.cat([self.read.anew(self.others[own], 2 * number + 1), self.read.seen[private]])

    @property
    def without_label(self) -> Tensor:
        """All without a label, `[u + N, f]`, as they were received first."""
        return torch.cat([self.read.own[self.others], self.read.seen])


def mixmatch(head: nn.Module, pool: Pool, context: AttackContext, slower: Sequence[nn.Parameter] = ()) -> nn.Module:
    """Train a head; returns the moving average of its weights.

    Args:
        head: classifier of features.
        pool: what it learns from.
        context: for effort, progress and folder.
        slower: parameters of it that were trained before, and are only tuned.
    """
    unlabelled = pool.without_label
    steps, steady = STEPS[context.effort], copy.deepcopy(head)
    tuned = {id(p) for p in slower}
    groups = [{"params": [p for p in head.parameters() if id(p) not in tuned], "lr": RATE}]
    groups += [{"params": list(slower), "lr": TUNED * RATE}] if slower else []
    optimiser = torch.optim.AdamW(groups, weight_decay=DECAY)
    changed = [*head.parameters(), *steady.parameters()]
    loop = Loop(steps, changed, [optimiser], file=context.file("head"), tick=context.tick)

    def step(at: float) -> Tensor:
        shown, wanted = pool.labelled(BATCH, loop.taken)
        many = pool.unlabelled(BATCH, loop.taken)
        views = [blurred(many) for _ in range(VIEWS)]
        with torch.no_grad():
            guess = sharpened(torch.stack([head(v).softmax(1) for v in views]).mean(0))
        x = torch.cat([blurred(shown), *views])
        y = torch.cat([wanted, *[guess] * VIEWS])
        with torch.enable_grad():
            loss = _loss(head, *mixed(x, y), WEIGHT * at / steps)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            keep = min(AVERAGE, loop.taken / (loop.taken + 10))
            for mean, now in zip(steady.parameters(), head.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        return loss

    loop.run(step, lambda: doubt(steady, unlabelled))
    return steady


def doubt(head: nn.Module, z: Tensor) -> float:
    """Mean entropy of a head's answers, in nats. It falls as long as samples without a label teach; the loss rises."""
    with torch.no_grad():
        logs = torch.cat([head(part).log_softmax(1) for part in torch.split(z, CHUNK)])
        return float(-(logs.exp() * logs).sum(1).mean())


def sharpened(guess: Tensor) -> Tensor:
    """`[n, classes]` probabilities raised to 1/temperature and normalised."""
    powered = guess ** (1 / TEMPERATURE)
    return powered / powered.sum(1, keepdim=True)


def blurred(z: Tensor) -> Tensor:
    """One random view of features: some of them dropped."""
    return F.dropout(z, DROPOUT, training=True)


def mixed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Each sample mixed with another, itself having the larger share (MixUp with max(λ, 1 − λ))."""
    share = torch.distributions.Beta(ALPHA, ALPHA).sample((len(x), 1))
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(len(x))
    return share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]


def _loss(head: nn.Module, x: Tensor, y: Tensor, weight: float) -> Tensor:
    scores = head(x)
    supervised = -(y[:BATCH] * scores[:BATCH].log_softmax(1)).sum(1).mean()
    total: Tensor = supervised + weight * F.mse_loss(scores[BATCH:].softmax(1), y[BATCH:])
    return total
