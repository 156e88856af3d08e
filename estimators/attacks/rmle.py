"""`rmle`: white-box feature matching with a total-variation prior (He et al. 2019), batched over inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Auxiliary, Recovered, ThreatModel
from advisor.estimators.attacks.support.denoising import denoised, noise_variance
from advisor.estimators.attacks.support.matching import Descent, batch_rows, features, match
from advisor.estimators.attacks.support.shrinking import Shrinking
from advisor.estimators.attacks.support.whitening import Whitened, Whitening, whitenings_of
from advisor.measures.images import mse
from advisor.value_range import ValueRange

BUDGETS = {"quick": Descent(150, 0.1), "strong": Descent(2000, 0.05)}
WEIGHTS = (0.0, 0.01, 0.1, 1.0)
"""Of the prior; which one, and whether to denoise or to whiten first, is tried on samples of the attacker's own."""

WHITE = (0.1, 1.0, 3.0)
"""The same where features are matched in units of their own spread."""

PRACTICE = 8
MAKING = 0.05
"""Of the progress, for samples to practise on."""

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
class RegularisedMaximumLikelihood:
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
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense", "edge weights"), ("nothing",), ("ask nothing",))

    def run(self, context: AttackContext) -> Recovered:
        """Practise, then descend on all private samples."""
        one_float_input(context)
        own, context = context.part(0, MAKING).practice(PRACTICE), context.part(MAKING, 1 - MAKING)
        clean, received = clean_of(context, own), context.query(own.inputs)
        variance = noise_variance(received, clean)
        noisy = any(v > NOISY * float(c.double().square().mean()) for v, c in zip(variance, clean, strict=True))
        shrunk = {False: received} | ({True: denoised(received, clean, variance)} if noisy else {})
        whitenings = whitenings_of(context.sent, variance) if self.white else None
        trials = self._trials(tuple(shrunk), whitenings)
        trying = len(own) * sum(map(len, trials))
        practised = trying / (trying + len(context))
        best, last = self._tried(context.part(0, practised), own, shrunk, trials)
        sent = denoised(context.sent, clean, variance) if best.shrunk else context.sent
        rest = context.part(practised, 1 - practised)
        found = last(self._descend(rest, "private", sent, own.inputs[0].mean(0), [best] * len(context)))
        evidence = {
            "prior_weight": best.weight, "denoised": float(best.shrunk), "noise_variance": max(variance),
            "whitened": float(best.whitenings is not None),
        }  # fmt: skip
        return Recovered(context.shrink((found,)), notes=(f"practised on {own.what}",), evidence=evidence)

    def _trials(self, kinds: Sequence[bool], whitenings: tuple[Whitening, ...] | None) -> list[list[Reading]]:
        """The readings to try, those that may be tried in one batch together."""
        turns = [(self.weights, None), *([(self.white, whitenings)] if whitenings is not None else [])]
        return [[Reading(w, kind, turn) for kind in kinds for w in weights] for weights, turn in turns]

    def _tried(
        self,
        context: AttackContext,
        own: Auxiliary,
        shrunk: dict[bool, tuple[Tensor, ...]],
        trials: list[list[Reading]],
    ) -> tuple[Reading, Shrinking]:
        """The reading of least error on own samples, and what to keep of it."""
        count, mean, tried = len(own), own.inputs[0].mean(0), []
        for number, readings in enumerate(trials):
            sent = tuple(torch.cat(z) for z in zip(*(shrunk[r.shrunk] for r in readings), strict=True))
            part = context.part(number / len(trials), 1 / len(trials))
            found = self._descend(part, f"practice{number}", sent, mean, [r for r in readings for _ in range(count)])
            for reading, back in zip(readings, torch.split(found, count), strict=True):
                fit = Shrinking.fitted(back, own.inputs[0], mean.mean())
                tried.append((float(mse(fit(back), own.inputs[0]).mean()), reading, fit))
        _, best, last = min(tried, key=lambda t: t[0])
        return best, last

    def _descend(
        self, context: AttackContext, name: str, sent: tuple[Tensor, ...], mean: Tensor, readings: Sequence[Reading]
    ) -> Tensor:
        """Readings are of one kind: all white by the same, or none. Images are descended on in [0, 1]."""
        how, rows, values = self.budgets[context.strong], rows_at_once(context), context.values
        edge: nn.Module = Stretched(context.edge(), values)
        if readings[0].whitenings is not None:
            edge = white = Whitened(edge, readings[0].whitenings)
            sent = white.white(sent)
        weight, found, mean = torch.tensor([r.weight for r in readings]), [], values.to_unit(mean)
        for some, part in context.batches(len(weight), rows):
            start, file = mean.float().expand(some.stop - some.start, *mean.shape).clone(), f"{name}-{some.start}"
            found.append(
                match(
                    edge, [z[some] for z in sent], start, weight[some], how, mean=mean, box=context.images,
                    file=context.file(file), tick=part.tick,
                )
            )  # fmt: skip
        return values.from_unit(torch.cat(found))


class Stretched(nn.Module):
    """An edge half that takes images of values in [0, 1], whatever the model takes."""

    def __init__(self, edge: nn.Module, values: ValueRange) -> None:
        super().__init__()
        self.edge, self.values = edge, values

    def forward(self, u: Tensor) -> Any:
        """The activation of such images."""
        return self.edge(self.values.from_unit(u))


def one_float_input(context: AttackContext) -> None:
    """Refuse models of several or of discrete inputs.

    Raises:
        NotMeasurableError: when there is not exactly one input of numbers.
    """
    specs = context.graph.inputs.tensors
    if len(specs) != 1 or "int" in specs[0].dtype or specs[0].dtype == "bool":
        raise NotMeasurableError("feature matching descends on one input of numbers; this model has other inputs")


def clean_of(context: AttackContext, own: Auxiliary) -> tuple[Tensor, ...]:
    """What the edge half computes of the attacker's own samples, before the defense."""
    edge = context.edge()
    with torch.no_grad():
        parts = [features(edge, part) for part in zip(*(torch.split(t, 32) for t in own.inputs), strict=True)]
    return tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))


def rows_at_once(context: AttackContext) -> int:
    """Samples a step, so that the edge half's activations and their gradients stay in memory."""
    kept = sum(context.graph.value_bytes(node) for node in context.graph.edge_nodes(context.cut))
    return batch_rows(2 * kept)
