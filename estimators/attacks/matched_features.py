"""`rmle`: white-box feature matching with a total-variation prior (He et al. 2019), batched over inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from advisor.estimators.attacks.base import Known, Recovered, Scene, ThreatModel
from advisor.estimators.attacks.denoising import denoised, noise_variance
from advisor.estimators.attacks.matching import Descent, batch_rows, features, match
from advisor.estimators.attacks.shrinking import Shrinking
from advisor.estimators.attacks.whitening import Whitened, Whitening, whitenings_of
from advisor.estimators.images import mse
from advisor.sweep import NotMeasurableError
from advisor.value_range import ValueRange

BUDGETS = {"quick": Descent(150, 0.1), "strong": Descent(2000, 0.05)}
WEIGHTS = (0.0, 0.01, 0.1, 1.0)
"""Of the prior; which one, and whether to denoise or to whiten first, is tried on samples of the attacker's own."""

WHITE = (0.1, 1.0, 3.0)
"""The same where features are matched in units of their own spread."""

PRACTICE = 8
NOISY = 1e-6
"""Share of the signal above which the defense's noise is worth removing."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read what was received.

    Attributes:
        weight: of the prior.
        shrunk: whether noise is shrunk away first.
        whitenings: what is matched is white by these; None for the tensors as they are.
    """

    weight: float
    shrunk: bool
    whitenings: tuple[Whitening, ...] | None


@dataclass(frozen=True)
class MatchedFeatures:
    """White box: descends on the input until the edge half gives what was received.

    Knowing the defense, it tries on samples of its own how much to trust what it received: which weight of the prior,
    whether to shrink it first by the noise it knows, whether to match it in units of its own spread, and which
    frequencies of the result to keep.

    Attributes:
        weights: of the prior that are tried.
        budgets: quick and strong.
        white: weights that are tried on white features; none for the published attack, which knows no whitening.
    """

    weights: tuple[float, ...] = WEIGHTS
    budgets: tuple[Descent, Descent] = (BUDGETS["quick"], BUDGETS["strong"])
    white: tuple[float, ...] = WHITE
    name: ClassVar[str] = "rmle"
    about: ClassVar[str] = "white-box feature matching with a total-variation prior (He et al., ACSAC 2019)"
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense", "edge weights"), ("nothing",), ("ask nothing",))

    def run(self, scene: Scene) -> Recovered:
        """Practise, then descend on all private samples."""
        one_float_input(scene)
        own = scene.practice(PRACTICE)
        clean, received = clean_of(scene, own), scene.query(own.inputs)
        variance = noise_variance(received, clean)
        noisy = any(v > NOISY * float(c.double().square().mean()) for v, c in zip(variance, clean, strict=True))
        shrunk = {False: received} | ({True: denoised(received, clean, variance)} if noisy else {})
        best, last = self._tried(scene, own, shrunk, whitenings_of(scene.sent, variance) if self.white else None)
        sent = denoised(scene.sent, clean, variance) if best.shrunk else scene.sent
        found = last(self._descend(scene, sent, own.inputs[0].mean(0), [best] * len(scene), tick=True))
        evidence = {
            "prior_weight": best.weight, "denoised": float(best.shrunk), "noise_variance": max(variance),
            "whitened": float(best.whitenings is not None),
        }  # fmt: skip
        return Recovered(scene.shrink((found,)), notes=(f"practised on {own.what}",), evidence=evidence)

    def _tried(
        self, scene: Scene, own: Known, shrunk: dict[bool, tuple[Tensor, ...]],
        whitenings: tuple[Whitening, ...] | None,
    ) -> tuple[Reading, Shrinking]:  # fmt: skip
        """The reading of least error on own samples, those of one kind tried in one batch, and what to keep of it."""
        count, mean, tried = len(own), own.inputs[0].mean(0), []
        kinds = [(self.weights, None), *([(self.white, whitenings)] if whitenings is not None else [])]
        for weights, turn in kinds:
            readings = [Reading(w, kind, turn) for kind in shrunk for w in weights]
            sent = tuple(torch.cat(z) for z in zip(*(shrunk[r.shrunk] for r in readings), strict=True))
            found = self._descend(scene, sent, mean, [r for r in readings for _ in range(count)], tick=False)
            for reading, back in zip(readings, torch.split(found, count), strict=True):
                fit = Shrinking.fitted(back, own.inputs[0], mean.mean())
                tried.append((float(mse(fit(back), own.inputs[0]).mean()), reading, fit))
        _, best, last = min(tried, key=lambda t: t[0])
        return best, last

    def _descend(
        self, scene: Scene, sent: tuple[Tensor, ...], mean: Tensor, readings: Sequence[Reading], tick: bool
    ) -> Tensor:
        """Readings are of one kind: all white by the same, or none. Images are descended on in [0, 1]."""
        how, rows, values = self.budgets[scene.strong], rows_at_once(scene), scene.values
        edge: nn.Module = Stretched(scene.edge(), values)
        if readings[0].whitenings is not None:
            edge = white = Whitened(edge, readings[0].whitenings)
            sent = white.white(sent)
        weight, parts, done, mean = torch.tensor([r.weight for r in readings]), [], 0.0, values.to_unit(mean)
        for index in torch.split(torch.arange(len(weight)), rows):
            start = mean.float().expand(len(index), *mean.shape).clone()
            share = (done, len(index) / len(weight))
            tell = (lambda s, share=share: scene.tick(share[0] + s * share[1])) if tick else None
            parts.append(
                match(edge, [z[index] for z in sent], start, weight[index], how, mean=mean, box=scene.images, tick=tell)
            )
            done += share[1]
        return values.from_unit(torch.cat(parts))


class Stretched(nn.Module):
    """An edge half that takes images of values in [0, 1], whatever the model takes."""

    def __init__(self, edge: nn.Module, values: ValueRange) -> None:
        super().__init__()
        self.edge, self.values = edge, values

    def forward(self, u: Tensor) -> Any:
        """What crosses of such images."""
        return self.edge(self.values.from_unit(u))


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
