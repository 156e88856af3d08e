"""`shadow`: query-free (He et al. 2019; Liu and Xiong 2024): a stand-in for the unknown edge half, then its inverse.

The server knows its own half and has labelled training data. It trains a shadow front so that its own half classifies
after it, and so that what the front gives has the mean and variance of what was really received; then it learns to
invert the shadow, and applies that to what was received.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.attack_versions import version_of
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel, generator
from advisor.estimators.attacks.ka import trained_decoder
from advisor.estimators.attacks.mlp import known_labels, said
from advisor.estimators.attacks.rmle import one_float_input
from advisor.estimators.attacks.support.draws import Draws, joined
from advisor.estimators.attacks.support.inverses import Scale, batch_of, frozen
from advisor.estimators.attacks.support.loop import Loop
from advisor.estimators.attacks.support.matching import features
from advisor.estimators.inversion.optimiser import OneCycle
from advisor.measures.decoders.activation_layouts import Layout, arrange

STEPS = {"quick": 400, "strong": 6000}
BATCH, RATE, WIDTH = 64, 0.02, 64
ALIKE = 1.0
"""Weight of the received tensors' statistics beside the cross-entropy."""


@dataclass(frozen=True)
class Shadow:
    """Never asks the edge anything, and does not know its weights."""

    name: ClassVar[str] = "shadow"
    about: ClassVar[str] = "query-free shadow network: the server's half and training data (He et al., ACSAC 2019)"
    verifies: ClassVar[bool] = False
    version: ClassVar[int] = version_of("shadow")
    threat: ClassVar[ThreatModel] = ThreatModel(
        ("cut and defense", "cloud weights"), ("auxiliary inputs", "labels"), ("ask nothing",)
    )

    def run(self, context: AttackContext) -> Recovered:
        """Train the shadow, invert it, read what was received."""
        one_float_input(context)
        if len(context.sent) != 1:
            raise NotMeasurableError("a shadow front gives one tensor, and several cross here")
        labels = known_labels(context)
        known = context.known
        front, accuracy = self._front(context, known.inputs[0], labels)
        draw = generator(context.seed + 3)
        with torch.no_grad():
            clean = torch.cat([front(x) for x in torch.split(known.inputs[0], 64)])
            own = torch.cat([context.channel.defend(z, draw) for z in torch.split(clean, 64)])
        scale = Scale.of(own.float())
        z = torch.cat([scale.apply(own.float()), Scale.of(context.sent[0].float()).apply(context.sent[0].float())])

        def arranged(tensors: tuple[Tensor, ...]) -> tuple[Tensor, Layout]:
            rows = known.pixels[:1].expand(len(tensors[0]), *known.pixels.shape[1:])
            return arrange(tensors, rows, context.images)

        def reduce(received: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (arranged((scale.apply(received[0].float()),))[0],)

        draws = Draws(context.channel, (clean,) if context.channel.random else (), reduce, context.seed + 3)
        read, layout = arranged((z,))
        found = trained_decoder(context.part(0.5, 0.5), read, layout, known.pixels, anew=joined([draws], [0]))
        return Recovered(inputs=found.inputs, notes=(said(labels),), evidence={"shadow_accuracy": accuracy})

    def _front(self, context: AttackContext, x: Tensor, labels: Tensor) -> tuple[nn.Module, float]:
        shown = labels >= 0
        data, cloud = (x[shown], labels[shown]), frozen(context.cloud())
        received = Scale.of(context.sent[0].float())
        front = Front(tuple(x.shape[1:]), tuple(context.sent[0].shape[1:]))
        cycle = OneCycle(front, RATE, STEPS[context.effort])

        def step(at: float) -> Tensor:
            part, wanted = batch_of(data, min(BATCH, len(data[0])))
            with torch.enable_grad():
                z = received.undo(front.raw(part))
                loss = F.cross_entropy(features(cloud, (z,))[0], wanted) + ALIKE * apart(z, received)
                cycle.step(loss, at)
            return loss

        file, tick = context.file("front"), context.part(0, 0.5).tick
        Loop(cycle.steps, list(front.parameters()), cycle.optimisers, file=file, tick=tick).run(step)
        whole = Standing(front.eval().requires_grad_(False), received)
        with torch.no_grad():
            right = torch.cat([features(cloud, (whole(p),))[0].argmax(1) for p in torch.split(data[0], 64)]) == data[1]
        return whole, float(right.double().mean())


class Standing(nn.Module):
    """A shadow front in the units of what was received."""

    def __init__(self, front: Front, scale: Scale) -> None:
        super().__init__()
        self.front, self.scale = front, scale

    def forward(self, x: Tensor) -> Tensor:
        """What the shadow would send."""
        return self.scale.undo(self.front.raw(x))


class Front(nn.Module):
    """Three convolutions of 64 channels that end in the shape that crosses (Ensembler's shadow), or a perceptron."""

    def __init__(self, outer: tuple[int, ...], inner: tuple[int, ...]) -> None:
        super().__init__()
        self.inner = inner
        self.maps = len(outer) == 3 and len(inner) == 3 and inner[1] * inner[2] > 1
        first = outer[0] if len(outer) == 3 else 1
        if len(outer) == 3:
            self.convolutions: nn.Module = nn.Sequential(
                nn.Conv2d(first, WIDTH, 3, padding=1), nn.GELU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.GELU()
            )
        else:
            self.convolutions = nn.Sequential(nn.Flatten(), nn.LazyLinear(4 * WIDTH), nn.GELU())
        size = int(torch.Size(inner).numel())
        if self.maps:
            self.last: nn.Module = nn.Conv2d(WIDTH, inner[0], 3, padding=1)
        else:
            self.last = nn.Linear(16 * WIDTH if len(outer) == 3 else 4 * WIDTH, size)

    def raw(self, x: Tensor) -> Tensor:
        """`[n, *inner]`, of unit scale."""
        z = self.convolutions(x)
        if self.maps:
            return self.last(F.adaptive_avg_pool2d(z, (self.inner[1], self.inner[2])))  # type: ignore[no-any-return]
        if z.dim() == 4:
            z = F.adaptive_avg_pool2d(z, 4).flatten(1)
        return self.last(z).reshape(len(x), *self.inner)  # type: ignore[no-any-return]


def apart(z: Tensor, wanted: Scale) -> Tensor:
    """How far mean and deviation of `[n, c, ...]` are from those wanted, in units of the latter."""
    here = Scale.of(z)
    mean = ((here.mean - wanted.mean) / wanted.deviation).square().mean()
    spread: Tensor = (here.deviation / wanted.deviation - 1).square().mean()
    return mean + spread
