"""`rmle`: white-box feature matching with a total-variation prior (He et al. 2019), batched over inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.estimators.attacks.base import Known, Recovered, Scene, ThreatModel
from advisor.estimators.attacks.denoising import denoised, noise_variance
from advisor.estimators.attacks.matching import Descent, batch_rows, features, match
from advisor.estimators.attacks.shrinking import Shrinking
from advisor.estimators.images import mse
from advisor.sweep import NotMeasurableError

BUDGETS = {"quick": Descent(150, 0.1), "strong": Descent(2000, 0.05)}
WEIGHTS = (0.0, 0.01, 0.1, 1.0)
"""Of the prior; which one, and whether to denoise first, is tried on samples of the attacker's own."""

PRACTICE = 8
NOISY = 1e-6
"""Share of the signal above which the defense's noise is worth removing."""


@dataclass(frozen=True)
class MatchedFeatures:
    """White box: descends on the input until the edge half gives what was received.

    Knowing the defense, it tries on samples of its own how much to trust what it received: which weight of the prior,
    whether to shrink it first by the noise it knows, and which frequencies of the result to keep.
    """

    weights: tuple[float, ...] = WEIGHTS
    budgets: tuple[Descent, Descent] = (BUDGETS["quick"], BUDGETS["strong"])
    name: ClassVar[str] = "rmle"
    about: ClassVar[str] = "white-box feature matching with a total-variation prior (He et al., ACSAC 2019)"
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense", "edge weights"), ("nothing",), ("ask nothing",))

    def run(self, scene: Scene) -> Recovered:
        """Practise, then descend on all private samples."""
        one_float_input(scene)
        own = scene.practice(PRACTICE)
        variance = noise_variance(scene.query(own.inputs), clean_of(scene, own))
        readings = self._readings(scene, own, variance)
        weight, shrink, last = self._tried(scene, own, readings)
        sent = scene.sent
        if shrink:
            sent = denoised(sent, clean_of(scene, own), variance)
        mean = own.inputs[0].mean(0)
        found = last(self._descend(scene, sent, mean, torch.full((len(scene),), weight), tick=True))
        evidence = {"prior_weight": weight, "denoised": float(shrink), "noise_variance": max(variance)}
        return Recovered(scene.shrink((found,)), notes=(f"practised on {own.what}",), evidence=evidence)

    def _readings(self, scene: Scene, own: Known, variance: Sequence[float]) -> list[tuple[tuple[Tensor, ...], bool]]:
        """What is received of the attacker's own samples, as it is, and shrunk where that could matter."""
        received, clean = scene.query(own.inputs), clean_of(scene, own)
        found = [(received, False)]
        noisy = any(v > NOISY * float(c.double().square().mean()) for v, c in zip(variance, clean, strict=True))
        return [*found, (denoised(received, clean, variance), True)] if noisy else found

    def _tried(
        self, scene: Scene, own: Known, readings: list[tuple[tuple[Tensor, ...], bool]]
    ) -> tuple[float, bool, Shrinking]:
        """The weight and reading of least error on own samples, all tried in one batch, and what to keep of it."""
        count, mean = len(own), own.inputs[0].mean(0)
        sent = [torch.cat([r[i] for r, _ in readings for _ in self.weights]) for i in range(len(readings[0][0]))]
        weight = torch.tensor(self.weights).repeat_interleave(count).repeat(len(readings))
        found = torch.split(self._descend(scene, tuple(sent), mean, weight, tick=False), count)
        fits = [Shrinking.fitted(back, own.inputs[0], mean.mean()) for back in found]
        errors = [float(mse(fit(back), own.inputs[0]).mean()) for fit, back in zip(fits, found, strict=True)]
        best = errors.index(min(errors))
        return self.weights[best % len(self.weights)], readings[best // len(self.weights)][1], fits[best]

    def _descend(self, scene: Scene, sent: tuple[Tensor, ...], mean: Tensor, weight: Tensor, tick: bool) -> Tensor:
        how, edge, rows = self.budgets[scene.strong], scene.edge(), rows_at_once(scene)
        parts, done = [], 0.0
        for index in torch.split(torch.arange(len(weight)), rows):
            start = mean.float().expand(len(index), *mean.shape).clone()
            share = (done, len(index) / len(weight))
            tell = (lambda s, share=share: scene.tick(share[0] + s * share[1])) if tick else None
            parts.append(
                match(edge, [z[index] for z in sent], start, weight[index], how, mean=mean, box=scene.images, tick=tell)
            )
            done += share[1]
        return torch.cat(parts)


def one_float_input(scene: Scene) -> None:
    """Refuse models of several or of discrete inputs.

    Raises:
        NotMeasurableError: when there is not exactly one input of numbers.
    """
    specs = scene.graph.inputs.tensors
    if len(specs) != 1 or "int" in specs[0].dtype or specs[0].dtype == "bool":
        raise NotMeasurableError("feature matching descends on one input of numbers; this model has other inputs")


def clean_of(scene: Scene, own: Known) -> tuple[Tensor, ...]:
    """What the edge half computes of the attacker's own samples, before the defense."""
    edge = scene.edge()
    with torch.no_grad():
        parts = [features(edge, part) for part in zip(*(torch.split(t, 32) for t in own.inputs), strict=True)]
    return tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))


def rows_at_once(scene: Scene) -> int:
    """Samples a step, so that the edge half's activations and their gradients stay in memory."""
    kept = sum(scene.graph.value_bytes(node) for node in scene.graph.edge_nodes(scene.cut))
    return batch_rows(2 * kept)
