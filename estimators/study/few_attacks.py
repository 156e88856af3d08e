"""The quick attack at some of a model's cuts, where it would take too long at all: block ends, then where it moves.

A cut that is not attacked lies between two that were, and the score never falls with depth: they bracket it. What the
input gives away needs no attack.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from advisor.activations import Activations
from advisor.columns import Column
from advisor.cut_view import CutView, Targets
from advisor.cuts import Cut
from advisor.estimate import Estimate
from advisor.estimators.inversion.alignment import QuickAlignment
from advisor.estimators.study.gpz import block_cuts
from advisor.graph import PartitionGraph
from advisor.progress import Progress, silence
from advisor.support.preserve import left_as_found
from advisor.sweep import Sheet

FIRST_SHARE = 0.6
"""Of the cuts that may be attacked, the share that goes to ends of blocks; the rest goes where the error moves."""

STILL = 0.02
"""Difference of NMSE between two attacked cuts up to which what lies between is not looked at."""

LEFT_OUT = "not attacked, to keep to the time: the attacked cuts before and after bracket it"
FEWEST_ATTACKS = 3
"""The output, one between, and one where the error moves most: with fewer there is little to bracket with."""
WHOLE_INPUT = {"ka_mse": 0.0, "ka_nmse": 0.0, "ka_ssim": 1.0}


@dataclass(frozen=True)
class Allowance:
    """How many cuts of a model the quick attack may be run at.

    Attributes:
        cuts: at most; None for all.
        until: `time.monotonic()` after which no further attack begins, but the few that bracket the rest.
        deadline: the same, after which nothing at all is measured: the user's own time is up.
    """

    cuts: int | None = None
    until: float = math.inf
    deadline: float = math.inf

    def covers(self, count: int) -> bool:
        """Whether all of `count` cuts may be attacked."""
        return (self.cuts is None or self.cuts >= count) and self.until == math.inf


@dataclass(frozen=True, eq=False)
class FewAttacks:
    """The quick attack where an allowance lets it.

    Attributes:
        graph, inputs, targets: of the study.
        quick: the attack; keeps its first reconstructions itself.
        allowance: how often.
        seed: of the attack.
    """

    graph: PartitionGraph
    inputs: tuple[Tensor, ...]
    targets: Targets
    quick: QuickAlignment
    allowance: Allowance
    seed: int

    def columns(self, progress: Progress = silence) -> tuple[dict[str, Column], tuple[int, ...]]:
        """Columns of the attack, NaN with the reason where it was not run; and the indices of the cuts where it was."""
        most = min(len(self.graph.cuts) - 1, max(FEWEST_ATTACKS, self.allowance.cuts or len(self.graph.cuts)))
        activations = Activations(self.graph, self.inputs)
        is_real = all(t.is_floating_point() for t in self.inputs)
        sheets = {0: self._input_sheet() if is_real else self._attacked(self.graph.cuts[0], activations)}
        for places in self._rounds(sheets, most):
            for place in sorted(places):
                if self._is_over(len(sheets)):
                    return self._gathered(sheets), tuple(sorted(sheets))
                sheets[place] = self._attacked(self.graph.cuts[place], activations)
                progress((len(sheets) - 1) / most, self.graph.cuts[place].name)
        return self._gathered(sheets), tuple(sorted(sheets))

    def _is_over(self, known: int) -> bool:
        """Whether no further attack may begin."""
        now = time.monotonic()
        return now > self.allowance.deadline or (known > FEWEST_ATTACKS and now > self.allowance.until)

    def _rounds(self, sheets: dict[int, Sheet], most: int) -> Iterator[Sequence[int]]:
        """Places to attack next: the output and the middle, then block ends, then where the error moves most."""
        last = len(self.graph.cuts) - 1
        blocks = block_cuts(self.graph.cuts)
        first = {last, blocks[len(blocks) // 2]} if blocks else {last}
        yield tuple(first)
        room = max(0, math.ceil(FIRST_SHARE * most) - len(first))
        yield evenly([place for place in blocks if place not in {0, *first}], room)
        while len(sheets) <= most and (places := self._moving(sheets)):
            yield places[: most + 1 - len(sheets)]

    def _moving(self, sheets: dict[int, Sheet]) -> list[int]:
        """The middle of each stretch between attacked cuts over which the error moves, the largest move first."""
        error = {place: sheet.rows["ka_nmse"][0].value for place, sheet in sheets.items()}
        stretches = []
        for before, after in pairwise(sorted(sheets)):
            move = error[after] - error[before]
            size = math.inf if math.isnan(move) else abs(move)
            if after - before > 1 and size > STILL:
                stretches.append((size, (before + after) // 2))
        return [place for _, place in sorted(stretches, key=lambda one: (-one[0], one[1]))]

    def _input_sheet(self) -> Sheet:
        """The input, as it is: an attacker has nothing to invert."""
        sheet = Sheet(self.graph.cuts[:1], self.quick.columns)
        for spec in self.quick.columns:
            known = self.targets.images or spec.name != "ka_ssim"
            sheet.rows[spec.name] = [Estimate.exact(WHOLE_INPUT[spec.name]) if known else Estimate(math.nan)]
            sheet.why[spec.name] = ["" if known else "the inputs are no images"]
        return sheet

    def _attacked(self, cut: Cut, activations: Activations) -> Sheet:
        sheet = Sheet((cut,), self.quick.columns)
        with left_as_found(self.graph.module), torch.no_grad():
            sheet.add(self.quick, CutView(cut, activations.at(cut), self.targets, 0.0, self.seed))
        return sheet

    def _gathered(self, sheets: dict[int, Sheet]) -> dict[str, Column]:
        whole = Sheet(self.graph.cuts, self.quick.columns)
        for cut in self.graph.cuts:
            own = sheets.get(cut.index)
            for spec in self.quick.columns:
                row = Estimate(math.nan) if own is None else own.rows[spec.name][0]
                why = LEFT_OUT if own is None else own.why[spec.name][0]
                whole.rows.setdefault(spec.name, []).append(row)
                whole.why.setdefault(spec.name, []).append(why)
        return whole.columns()


def evenly(places: Sequence[int], room: int) -> list[int]:
    """At most `room` of the places, spread evenly, the last one included."""
    if len(places) <= room:
        return list(places)
    return [places[round((i + 1) * len(places) / room) - 1] for i in range(room)]
