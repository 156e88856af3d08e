"""`dip`: feature matching over the weights of an untrained network (deep image prior, Ulyanov et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel, generator
from advisor.estimators.attacks.rmle import MAKING, one_float_input, rows_at_once
from advisor.estimators.attacks.support.loop import Loop
from advisor.estimators.attacks.support.matching import Descent, descend, features, mismatch
from advisor.measures.images import mse

BUDGETS = {"quick": Descent(200, 0.01), "strong": Descent(2000, 0.01)}
WIDTH = 16
SEEDS = 8  # channels of the fixed noise that each network starts from
PRACTICE = 6


@dataclass(frozen=True)
class DeepImagePrior:
    """White box; a picture is what a small convolutional network gives: its architecture prefers natural ones.

    When to stop is tried on samples of the attacker's own: such a network learns noise last.
    """

    budgets: tuple[Descent, Descent] = (BUDGETS["quick"], BUDGETS["strong"])
    name: ClassVar[str] = "dip"
    about: ClassVar[str] = "white-box feature matching over an untrained network (deep image prior, CVPR 2018)"
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense", "edge weights"), ("nothing",), ("ask nothing",))

    def run(self, context: AttackContext) -> Recovered:
        """Practise to find when to stop, then descend on all private samples."""
        one_float_input(context)
        if not context.images:
            raise NotMeasurableError("the deep image prior is one of images, and the inputs are none")
        own, context = context.part(0, MAKING).practice(PRACTICE), context.part(MAKING, 1 - MAKING)
        how = self.budgets[context.strong]
        practised = len(own) / (len(own) + len(context))
        practice = Matched(context.part(0, practised), "practice", context.query(own.inputs))
        trial = practice.descend(how, lambda: float(mse(practice.pictures(), own.inputs[0]).mean()))
        found, rest = [], context.part(practised, 1 - practised)
        for some, part in rest.batches(len(context), rows_at_once(context)):
            attacked = Matched(part, f"private-{some.start}", tuple(z[some] for z in context.sent))
            attacked.descend(how, pace=(trial.turn, trial.best))
            found.append(attacked.pictures())
        notes = (f"practised on {own.what}; stopped after {trial.best} of {how.steps} steps",)
        return Recovered(context.shrink((torch.cat(found),)), notes=notes)


class Hourglass(nn.Module):
    """One small down-and-up network for each of n pictures, all in one grouped convolution.

    Args:
        count: n.
        shape: channels, height and width of a picture.
        seed: of weights and of the noise they start from.
    """

    def __init__(self, count: int, shape: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self.count, self.shape = count, shape
        draw = generator(seed)
        self.noise = 0.1 * torch.rand(1, count * SEEDS, *shape[1:], generator=draw)
        sizes = [(SEEDS, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 2 * WIDTH), (3 * WIDTH, WIDTH), (WIDTH, shape[0])]
        self.weights = nn.ParameterList(
            torch.randn(count * out, into, 3, 3, generator=draw) * (2 / (9 * into)) ** 0.5 for into, out in sizes
        )
        self.biases = nn.ParameterList(torch.zeros(count * out) for _, out in sizes)

    def forward(self) -> Tensor:
        """Pictures `[n, c, h, w]` of values between 0 and 1."""
        fine = self._layer(0, self.noise)
        deep = self._layer(2, self._layer(1, F.avg_pool2d(fine, 2, ceil_mode=True)))
        up = F.interpolate(deep, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        both = torch.cat([self._split(up), self._split(fine)], 1).reshape(1, -1, *fine.shape[-2:])
        return torch.sigmoid(self._conv(4, self._layer(3, both))).reshape(self.count, *self.shape)

    def _split(self, z: Tensor) -> Tensor:
        return z.reshape(self.count, -1, *z.shape[-2:])

    def _conv(self, i: int, z: Tensor) -> Tensor:
        return F.conv2d(z, self.weights[i], self.biases[i], padding=1, groups=self.count)

    def _layer(self, i: int, z: Tensor) -> Tensor:
        z = self._conv(i, z)
        z = F.instance_norm(z)
        return F.leaky_relu(z, 0.1)


class Matched:
    """Networks whose pictures have, after the edge half, the features that were received.

    Args:
        context: for the edge half, seed and progress.
        name: of the file that a killed descent goes on from.
        sent: what was received, each `[n, ...]`.
    """

    def __init__(self, context: AttackContext, name: str, sent: tuple[Tensor, ...]) -> None:
        self.context, self.name, self.sent, self.edge = context, name, sent, context.edge()
        self.network = Hourglass(len(sent[0]), context.graph.inputs.tensors[0].shape, context.seed)

    def pictures(self) -> Tensor:
        """`[n, c, h, w]`, in the range of the model's inputs."""
        with torch.no_grad():
            return self._pictures()

    def descend(
        self, how: Descent, error: Callable[[], float] | None = None, pace: tuple[int | None, int] | None = None
    ) -> Loop:
        """Train the networks; see `descend` of feature matching."""
        file, tick = self.context.file(self.name), self.context.tick
        return descend(
            list(self.network.parameters()), self._mismatch, how, error=error, file=file, tick=tick, pace=pace
        )

    def _pictures(self) -> Tensor:
        return self.context.values.from_unit(self.network())

    def _mismatch(self) -> Tensor:
        return mismatch(features(self.edge, (self._pictures(),)), self.sent)
