"""`dip`: feature matching over the weights of an untrained network (deep image prior, Ulyanov et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advisor.estimators.attacks.base import Recovered, Scene, ThreatModel, generator
from advisor.estimators.attacks.matched_features import one_float_input, rows_at_once
from advisor.estimators.attacks.matching import Descent, descend, features, mismatch
from advisor.estimators.images import mse
from advisor.sweep import NotMeasurableError

BUDGETS = {"quick": Descent(200, 0.01), "strong": Descent(2000, 0.01)}
WIDTH = 16
SEEDS = 8  # channels of the fixed noise that each network starts from
PRACTICE = 6
CHECKS = 8


@dataclass(frozen=True)
class DeepImagePrior:
    """White box; a picture is what a small convolutional network gives: its architecture prefers natural ones.

    When to stop is tried on samples of the attacker's own: such a network learns noise last.
    """

    budgets: tuple[Descent, Descent] = (BUDGETS["quick"], BUDGETS["strong"])
    name: ClassVar[str] = "dip"
    about: ClassVar[str] = "white-box feature matching over an untrained network (deep image prior, CVPR 2018)"
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense", "edge weights"), ("nothing",), ("ask nothing",))

    def run(self, scene: Scene) -> Recovered:
        """Practise to find when to stop, then descend on all private samples."""
        one_float_input(scene)
        if not scene.images:
            raise NotMeasurableError("the deep image prior is one of images, and the inputs are none")
        own = scene.practice(PRACTICE)
        seen: list[tuple[int, float]] = []
        how = self.budgets[scene.strong]
        wanted = own.inputs[0]
        matched(scene, scene.query(own.inputs), how, lambda step, x: seen.append((step, float(mse(x, wanted).mean()))))
        stop = min(seen, key=lambda pair: pair[1])[0]
        parts, rows = [], rows_at_once(scene)
        for number, index in enumerate(torch.split(torch.arange(len(scene)), rows)):
            parts.append(matched(scene, tuple(z[index] for z in scene.sent), how, stop=stop))
            scene.tick(min(1.0, (number + 1) * rows / len(scene)))
        notes = (f"practised on {own.what}; stopped after {stop} of {how.steps} steps",)
        return Recovered(scene.shrink((torch.cat(parts),)), notes=notes)


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


def matched(scene: Scene, sent: tuple[Tensor, ...], how: Descent, at: object = None, stop: int = 0) -> Tensor:
    """Pictures `[n, c, h, w]` by the networks whose features match best.

    Args:
        sent: what was received, each `[n, ...]`.
        how: steps and rate.
        at: called as `at(step, pictures)` now and then.
        stop: the step whose pictures are wanted; 0 for the last.
    """
    edge, shape = scene.edge(), scene.graph.inputs.tensors[0].shape
    network = Hourglass(len(sent[0]), shape, scene.seed)
    state: dict[str, Tensor] = {}
    taken = [0]

    def loss() -> Tensor:
        state["x"] = scene.values.from_unit(network())
        return mismatch(features(edge, (state["x"],)), sent).sum()

    def after() -> None:
        taken[0] += 1
        if callable(at) and taken[0] % max(1, how.steps // CHECKS) == 0:
            at(taken[0], state["x"].detach())
        if taken[0] == stop:
            state["best"] = state["x"].detach()

    descend(list(network.parameters()), loss, how, after=after)
    return state.get("best", state["x"].detach())
