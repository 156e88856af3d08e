"""`dci`: divide-and-conquer inversion (Dong et al., BMVC 2022): block by block, on synthetic data, cycle-consistent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from advisor.cuts import Cut
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Auxiliary, Recovered, ThreatModel, generator
from advisor.estimators.attacks.rmle import one_float_input
from advisor.estimators.attacks.support.inverses import Inverse, Scale, batch_of, frozen, readable
from advisor.estimators.attacks.support.loop import Loop
from advisor.estimators.attacks.support.matching import features
from advisor.estimators.inversion.optimiser import OneCycle

STEPS = {"quick": 150, "strong": 3000}
"""Of each block."""

SAMPLES = {"quick": 192, "strong": 2000}
REFINED = {"quick": 15, "strong": 100}
"""Steps of synthesis towards the BatchNorm statistics."""

PIECE = 200
"""Samples made up at a time."""

BATCH, RATE = 32, 0.02
CALIBRATION = 128
MOST_BLOCKS = 6


@dataclass(frozen=True)
class DividedInversion:
    """White box, no data: the model's own BatchNorm statistics stand in for it.

    Attributes:
        blockwise: one module a block, trained in turn; else one for the whole edge half.
        layer: each module is held to what entered its block (the paper's eq. 1).
        image: and to the picture through all modules (eq. 2).
        cycle: and to the features of the reconstruction (eq. 3).
        real: learns from auxiliary samples instead of synthetic ones, for comparison.
        refined: synthetic samples are moved to the BatchNorm statistics (eq. 4); else they stay the prior's.
        adapted: at last all modules are trained together, and also until what they make of the received features leads
            to those features again: eq. 3 on what synthetic samples may be unlike. Not in the paper.
    """

    blockwise: bool = True
    layer: bool = True
    image: bool = True
    cycle: bool = True
    real: bool = False
    refined: bool = True
    adapted: bool = True
    name: ClassVar[str] = "dci"
    about: ClassVar[str] = "divide-and-conquer inversion on synthetic data (Dong et al., BMVC 2022)"
    verifies: ClassVar[bool] = False

    @property
    def threat(self) -> ThreatModel:
        """With auxiliary samples only where it is to learn from them."""
        has = ("auxiliary inputs",) if self.real else ("nothing",)
        return ThreatModel(("cut and defense", "edge weights"), has, ("ask nothing",))  # type: ignore[arg-type]

    def run(self, context: AttackContext) -> Recovered:
        """Train the modules from the first block to the last, then read the private samples."""
        one_float_input(context)
        stops, sent = self._stops(context), context.sent[0].float()
        first, *others = [part for _, part in context.batches(1 + len(stops) + self.adapted, 1)]
        data = self._data(first)
        chain = Chain(context, stops, data)
        for number in range(len(stops)):
            self._conquer(chain, number, others[number])
        if self.adapted:
            self._descend(chain, chain.last, chain.inverses, others[-1], sent)
        with torch.no_grad():
            parts = [chain.back(z, chain.last) for z in torch.split(sent, 64)]
        names = ", ".join(context.graph.cuts[i].name for i in chain.stops)
        return Recovered(
            context.shrink((torch.cat(parts),)), notes=(f"learnt from {data.what}", f"blocks end at {names}")
        )

    def _data(self, context: AttackContext) -> Auxiliary:
        if self.real:
            return context.known
        steps, count = REFINED[context.effort] if self.refined else 0, SAMPLES[context.effort]
        pieces = context.batches(count, PIECE)
        made = [part.made_up(some.stop - some.start, context.seed + 1 + some.start, steps) for some, part in pieces]
        what = made[0].what if len(made) == 1 else f"{count:,} in all, as these: {made[0].what}"
        inputs = tuple(torch.cat(parts) for parts in zip(*(m.inputs for m in made), strict=True))
        return Auxiliary(inputs, torch.cat([m.pixels for m in made]), None, what)

    def _stops(self, context: AttackContext) -> list[int]:
        last = context.cut
        if len(last.tensors) != 1 or not readable(last.tensors[0].shape) or last.index == 0:
            raise NotMeasurableError("inversion modules read one map or vector after the first operation")
        if not self.blockwise:
            return [last.index]
        inner = [cut.index for cut in context.graph.cuts[1 : last.index] if cut.block and _useful(cut)]
        if len(inner) < 2:
            inner = [cut.index for cut in context.graph.cuts[1 : last.index] if _useful(cut)]
        if len(inner) >= MOST_BLOCKS:
            inner = [inner[i * len(inner) // (MOST_BLOCKS - 1)] for i in range(MOST_BLOCKS - 1)]
        return [*inner, last.index]

    def _conquer(self, chain: Chain, number: int, context: AttackContext) -> None:
        """Train the module of one block; those before it stay as they are."""
        self._descend(chain, number, chain.inverses[number : number + 1], context)

    def _descend(
        self, chain: Chain, number: int, modules: nn.ModuleList, context: AttackContext, sent: Tensor | None = None
    ) -> None:
        """Train some modules to invert up to block `number`, and what was received of the private samples with them."""
        stage = number if sent is None else number + 1
        modules.train().requires_grad_(True)
        cycle, draw = OneCycle(modules, RATE, STEPS[context.effort]), generator(context.seed + stage)

        def step(at: float) -> Tensor:
            (x,) = batch_of(chain.data.inputs, BATCH)
            with torch.no_grad():
                ahead = chain.ahead(x, number)
                seen = chain.received(ahead[number + 1], number, draw)
            with torch.enable_grad():
                loss = self._loss(chain, number, ahead, seen)
                loss = loss if sent is None else loss + chain.mismatch(*batch_of((sent,), BATCH))
                cycle.step(loss, at)
            return loss

        changed, file = list(modules.parameters()), context.file(f"block{stage}")
        Loop(cycle.steps, changed, cycle.optimisers, [draw], file=file, tick=context.tick).run(step)
        modules.eval().requires_grad_(False)
        if not all(torch.isfinite(p).all() for p in modules.parameters()):
            raise NotMeasurableError("the inversion modules diverged: this says nothing about privacy")

    def _loss(self, chain: Chain, number: int, ahead: list[Tensor], seen: Tensor) -> Tensor:
        own = chain.inverses[number](chain.scales[number + 1].apply(seen))
        loss = torch.zeros(())
        if self.layer:
            loss = loss + (own - chain.scales[number].apply(ahead[number])).abs().mean()
        if not (self.image or self.cycle):
            return loss
        picture = chain.down(own, number)
        if self.image:
            loss = loss + (picture - ahead[0]).abs().mean() / chain.scales[0].deviation.mean()
        if self.cycle:
            again = chain.ahead(picture, number)
            pairs = zip(chain.scales[1 : number + 2], again[1:], ahead[1:], strict=True)
            loss = loss + sum(((a - b).abs() / s.deviation).mean() for s, a, b in pairs) / (number + 1)
        return loss


class Chain:
    """The edge half in blocks, and an inversion module for each.

    Args:
        context: for the edge half and the defense.
        stops: index of the cut after each block.
        data: what is learnt from.
    """

    def __init__(self, context: AttackContext, stops: list[int], data: Auxiliary) -> None:
        self.context, self.stops, self.data, self.last = context, stops, data, len(stops) - 1
        starts = [0, *stops[:-1]]
        context.edge()  # only who knows the edge half may take it apart
        self.blocks = [frozen(context.graph.piece(b, a)) for a, b in zip(starts, stops, strict=True)]
        shapes = [context.graph.cuts[i].tensors[0].shape for i in (0, *stops)]
        depth = 2 if context.strong else 1
        pairs = zip(shapes[1:], shapes[:-1], strict=True)
        self.inverses = nn.ModuleList(Inverse(inner, outer, depth) for inner, outer in pairs).requires_grad_(False)
        with torch.no_grad():
            values = self.ahead(data.inputs[0][:CALIBRATION], self.last)
        self.scales = [Scale.of(z.float()) for z in values]

    def ahead(self, x: Tensor, number: int) -> list[Tensor]:
        """The input and what leaves each block up to block `number`."""
        values = [x]
        for block in self.blocks[: number + 1]:
            values.append(features(block, (values[-1],))[0])
        return values

    def received(self, z: Tensor, number: int, draw: torch.Generator) -> Tensor:
        """What is sent after the last block goes through the defense."""
        return self.context.channel.defend(z, draw) if number == self.last else z

    def down(self, own: Tensor, number: int) -> Tensor:
        """The picture from the standardised input of block `number`, through the modules before it."""
        for module in reversed(self.inverses[:number]):
            own = module(own)
        picture = self.scales[0].undo(own)
        values = self.context.values
        return values.from_unit(values.to_unit(picture).clamp(-0.5, 1.5)) if self.context.images else picture

    def back(self, z: Tensor, number: int) -> Tensor:
        """The picture from what left block `number`."""
        return self.down(self.inverses[number](self.scales[number + 1].apply(z)), number)

    def mismatch(self, z: Tensor) -> Tensor:
        """How far the features of the pictures from received `z` lie from it, in units of each channel's deviation."""
        again = self.ahead(self.back(z, self.last), self.last)[-1]
        return ((again - z).abs() / self.scales[-1].deviation).mean()


def _useful(cut: Cut) -> bool:
    return len(cut.tensors) == 1 and len(cut.tensors[0].shape) == 3
