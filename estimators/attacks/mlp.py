"""`mlp`, `mlp-sim`: label inference by a head learnt from a few labelled samples (Duan et al. 2024, appendix D.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.attack_versions import version_of
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.support.label_features import label_features
from advisor.estimators.attacks.support.loop import Loop

LABELLED = ThreatModel(
    ("cut and defense",), ("auxiliary inputs", "few labels"), ("query the edge",), "label"
)  # fmt: skip
STEPS = {"quick": 300, "strong": 2000}
RATE = 2e-3
DECAY = 0.05
ENOUGH = 0.001
"""Cross-entropy on the known labels, in nats, at which each of them is given 99.9 %: there is nothing more to learn."""


@dataclass(frozen=True)
class Head:
    """Learns from its labelled samples alone.

    Attributes:
        name: "mlp" or "mlp-sim".
        hidden: units of the hidden layers: 512 and 256 in the paper's MLP, none in its MLP_sim.
        verifies: whether `recommend` runs it.
    """

    name: str
    hidden: tuple[int, ...]
    verifies: bool = field(default=False, repr=False)
    threat: ClassVar[ThreatModel] = LABELLED
    version: ClassVar[int] = version_of("mlp")

    @property
    def about(self) -> str:
        """One line."""
        layers = "one layer" if not self.hidden else f"{len(self.hidden) + 1} layers"
        return f"label inference by a head of {layers} on few labels (InfoScissors' heads, NeurIPS 2024)"

    def run(self, context: AttackContext) -> Recovered:
        """Learn from the few labels, then read the private samples."""
        read = label_features(context)
        labels = known_labels(context)
        shown = torch.nonzero(labels >= 0).flatten()
        head = perceptron(read.own.shape[1], self.hidden, context.classes)
        optimiser = torch.optim.AdamW(head.parameters(), RATE, weight_decay=DECAY)

        def step(at: float) -> Tensor:
            features = read.anew(shown, loop.taken)
            with torch.enable_grad():
                loss = F.cross_entropy(head(features), labels[shown])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            return loss

        file, steps = context.file("head"), STEPS[context.effort]
        loop = Loop(steps, list(head.parameters()), [optimiser], file=file, tick=context.tick)
        loop.run(step, enough=ENOUGH)
        with torch.no_grad():
            return Recovered(labels=head.eval()(read.seen).softmax(1), notes=(said(labels),))


MLP = Head("mlp", (512, 256))
MLP_SIM = Head("mlp-sim", (), verifies=True)


def known_labels(context: AttackContext) -> Tensor:
    """`[n]` labels of the attacker's own samples, -1 where hidden.

    Raises:
        NotMeasurableError: when it knows fewer than two classes.
    """
    labels = context.known.labels
    if labels is None or len(torch.unique(labels[labels >= 0])) < 2:
        raise NotMeasurableError("the attacker's labels are of fewer than two classes: there is none to tell apart")
    return labels


def said(labels: Tensor) -> str:
    """How many labels the attacker had."""
    return f"{int((labels >= 0).sum())} labelled samples, {int((labels < 0).sum()):,} more without a label"


def perceptron(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Fully connected layers with ReLU between."""
    sizes = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
