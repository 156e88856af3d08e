"""How long attacks take, from the shapes that cross and the speed of this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from advisor.cuts import Cut
from advisor.estimators.attacks import ids
from advisor.estimators.attacks.support.draws import FEWEST as FEWEST_DRAWS
from advisor.estimators.attacks.support.draws import PASSES
from advisor.estimators.inversion.alignment import QUICK, STRONG
from advisor.estimators.inversion.optimiser import update_products
from advisor.estimators.statistics.learning_curves import steps_up_to
from advisor.graph import PartitionGraph
from advisor.measures.decoders.activation_layouts import SKETCH, VECTOR_LIMIT, cell_factor, grid
from advisor.measures.decoders.map_decoder import map_width
from advisor.measures.decoders.map_sizes import FEW_CELLS, PATCH_FEATURES
from advisor.measures.decoders.ridges import GCV_SAMPLES
from advisor.measures.decoders.usual_decoders import PERCEPTRON
from advisor.measures.images import PICTURE_SIDE, is_image_batch, side_of
from advisor.planning.evaluating.attacker_samples import FEWEST
from advisor.planning.timing.machine_speed import SOLVED, Speed, step_products
from advisor.request_parts import SearchPart

SETTLED_SHARE = 0.27
"""Of its steps that a quick attack takes, on average over a model's cuts: the linear part settles shallow ones."""

DEFENDED = 1 / SETTLED_SHARE
"""How much longer than that it takes on a defended plan, which nothing settles: all of its steps."""

FLAT_SHARE = 0.04
"""Of all of its steps, what a strong attack takes until validation is flat: 0.03 on digits, 0.05 on ResNet-20."""

DRAWN = 15.0
"""Copies of a batch's activation that a step takes where noise is drawn anew: the noise, what it is added to, the map
as it is read, standardised and ordered, and what the linear part makes of it."""

BACKWARD = 2
"""Forward passes that a gradient takes beside the one that it is of."""

ALL_AT_ONCE = 0.4
"""Of a sample's pass among the few that its speed is measured on, what it takes among many and after the embeddings."""

STARTS = 2
"""How often guesses of ids are tried out anew, until that helps no sample."""

VECTOR_STEP = 0.4
"""Of what a step takes beside its products, where it is a perceptron's."""


@dataclass(frozen=True)
class AttackTimes:
    """Seconds of attacks on one model.

    Attributes:
        graph: the traced model.
        inputs: flat private samples `[N, ...]`.
        learnt: samples that an attack learns from.
        samples: that are run through the model in all.
        speed: of this machine.
    """

    graph: PartitionGraph
    inputs: tuple[Tensor, ...]
    learnt: int
    samples: int
    speed: Speed

    @cached_property
    def of_study(self) -> tuple[float, ...]:
        """`[cuts]` of the quick attack at each; nothing where inputs are discrete, which it does not recover."""
        if self.discrete:
            return (0.0,) * len(self.graph.cuts)
        return tuple(self._seconds(cut, PICTURE_SIDE, self.learnt) for cut in self.graph.cuts)

    def on_plan(
        self, budget: str, side: int = PICTURE_SIDE, learnt: int | None = None, payload: Cut | None = None
    ) -> float:
        """One attack on a plan at a usual cut, with reconstructions of up to `side` pixels; on ids, which has none.

        Args:
            budget: "quick" or "strong".
            side: pixels.
            learnt: samples that it learns from, where not as many as there are.
            payload: what is sent in the place of the usual cut's activation.
        """
        if self.discrete:
            return self._on_ids(budget)
        own, sent_at = self.learnt if learnt is None else learnt, payload or self._usual
        harder = _strong(self.samples) if budget == "strong" else 1.0
        sent = (2 * own + self.samples) * self.speed.forward
        steps = min(QUICK.steps, QUICK.epochs * math.ceil(own / QUICK.batch))
        drawn = DRAWN * steps * QUICK.batch * sent_at.elements * self.speed.element
        return sent + harder * (DEFENDED * self._seconds(sent_at, side, own) + drawn)

    @property
    def discrete(self) -> bool:
        """Whether inputs are ids, of which an attack tells which they are."""
        return not all(t.dtype.is_floating_point for t in self.inputs)

    def _on_ids(self, budget: str) -> float:
        """Descent on the embeddings of every sample, then guesses that are tried out at each position in turn."""
        positions = sum(t[0].numel() for t in self.inputs if not t.dtype.is_floating_point)
        passes = (1 + BACKWARD) * ids.BUDGETS[budget].steps
        if positions <= ids.MOST_POSITIONS:
            guesses = max(ids.FEWEST_CANDIDATES, passes // (ids.SWEEPS * positions))
            passes += STARTS * ids.SWEEPS * positions * guesses
        return passes * ALL_AT_ONCE * len(self.inputs[0]) * self.speed.forward

    @property
    def floor(self) -> float:
        """What finds the floor of a noisy plan: the cloud half, half of the model, on a few draws of each sample;
        nothing where inputs are discrete.
        """
        if self.discrete:
            return 0.0
        sets = 1 if self._picture(PICTURE_SIDE) is None else 2
        return sets * max(PASSES, FEWEST_DRAWS * self.learnt) * self.speed.forward / 2

    def asked(self, search: SearchPart) -> float:
        """The attacks that `--attack-size` and `--attacker-samples` add to those on the plans."""
        seconds = 0.0
        if search.attack_size is not None:
            seconds += self.on_plan(search.verify, side_of(search.attack_size))
        if search.attacker_samples is not None:
            counts = steps_up_to(min(search.attacker_samples, self.learnt), FEWEST)
            seconds += sum(self.on_plan("quick", learnt=count) for count in counts)
        return seconds

    @property
    def larger(self) -> list[int]:
        """Pixels a side of the images and halves of it, above the usual size; none where they are no larger."""
        side, found = max(self.inputs[0].shape[-2:]), list[int]()
        while side > PICTURE_SIDE:
            found.append(side)
            side //= 2
        return found

    @cached_property
    def _usual(self) -> Cut:
        """The cut at which an attack takes as long as in the middle."""
        order = sorted(range(len(self.of_study)), key=self.of_study.__getitem__)
        return self.graph.cuts[order[len(order) // 2]]

    def _picture(self, side: int) -> tuple[int, int] | None:
        """Height and width of reconstructions; None where the inputs are no images."""
        if not (len(self.inputs) == 1 and is_image_batch(self.inputs[0])):
            return None
        height, width = self.inputs[0].shape[-2:]
        shrink = min(1.0, side / max(height, width))
        return max(1, round(height * shrink)), max(1, round(width * shrink))

    def _seconds(self, cut: Cut, side: int, learnt: int) -> float:
        return _attack(cut, self._picture(side), learnt, self.speed)


def _strong(samples: int) -> float:
    """How much longer the strong attack takes than the quick one: its steps, and its wider and deeper network, until
    validation is flat.
    """
    steps = min(STRONG.steps, STRONG.epochs * math.ceil(samples / STRONG.batch)) / QUICK.steps
    return FLAT_SHARE * steps * (STRONG.width / QUICK.width) ** 2 * STRONG.depth / QUICK.depth


def _solved(learnt: int, width: int, targets: int) -> float:
    """Eigenproblems of `SOLVED` rows that the linear parts on a vector take, the curved one included."""
    few = min(learnt, GCV_SAMPLES)
    sides = (few, min(learnt, width), few, learnt, min(few, targets), min(few, targets))
    return sum((side / SOLVED) ** 3 for side in sides)


def _updates(channels: int, width: int, outputs: int) -> int:
    """Multiply-adds of one update of the quick attack's network on maps, whatever the batch."""
    hidden = 2 * QUICK.depth * update_products(width, width, 9)
    return update_products(width, channels) + hidden + update_products(outputs, width, 9)


def _attack(cut: Cut, picture: tuple[int, int] | None, learnt: int, speed: Speed) -> float:
    """Seconds of the quick attack at one cut, from the shapes that cross."""
    known = learnt * (2 if picture else 1)
    steps = SETTLED_SHARE * min(QUICK.steps, QUICK.epochs * math.ceil(known / QUICK.batch))
    seconds = 0.0
    maps = [
        None if picture is None else grid(torch.empty(1, *spec.shape, device="meta"), picture) for spec in cut.tensors
    ]
    if picture is not None and maps and all(m is not None for m in maps):
        factor = cell_factor(picture, max(m.shape[-2] for m in maps if m is not None))
        cells = (picture[0] // factor) * (picture[1] // factor)
        channels = sum(m.shape[1] for m in maps if m is not None)
        width = map_width(QUICK.width, cells)
        products = step_products(channels, cells, width, 3 * factor**2) + _updates(channels, width, 3 * factor**2)
        size = channels * (9 if 9 * channels <= PATCH_FEATURES else 1)
        seconds = steps * (products * speed.product + speed.step) + 3 * known * cells * size**2 * speed.product / 3
        seconds += 2 * speed.solve * (size / SOLVED) ** 3
        if cells > FEW_CELLS:
            return seconds
    width = min(cut.elements, VECTOR_LIMIT if cut.elements <= VECTOR_LIMIT else SKETCH)
    units = PERCEPTRON * QUICK.width
    step = VECTOR_STEP * speed.step + 3 * QUICK.batch * units * (width + units + 256) * speed.product
    return seconds + 2 * steps * step + speed.solve * _solved(learnt, width, math.prod(picture or (0,)) or width)
