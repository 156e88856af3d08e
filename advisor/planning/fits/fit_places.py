"""Where which method is fitted: at the few cuts whose costs the budgets allow."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from advisor.advice import Advice
from advisor.cuts import Cut
from advisor.data.samples import Samples
from advisor.defenses import NoDefense
from advisor.defenses.methods import METHODS
from advisor.errors import DataError
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.fits import fit_schedule as schedule
from advisor.planning.fits.fit_recipes import payload_of, recipe_at
from advisor.planning.fits.fit_schedule import Pair
from advisor.planning.shared_study.fitted_store import FittedStore
from advisor.plans import Plan
from advisor.request import Request

HEAD = "local-head"
"""The method that makes a head that answers on the edge alone."""


PRICED_AT = ("max_accuracy_drop", "min_nmse", "max_ssim")
"""What a fit changes: a cut that misses another budget is not fitted at."""


@dataclass(eq=False)
class FitPlaces:
    """What one recommendation fits, and with what.

    Attributes:
        evaluator: prices plans of the model itself.
        request: what is wanted.
        limits: what a plan may leak.
        methods: names of the methods to try.
        training, validation: samples to fit to, and to stop by.
        folder: where a killed run keeps what it goes on from, or None.
        seconds: after which no fit goes on; None: only the effort bounds them.
        study: name of the study on a storage; "" in memory.
        store: where fitted weights are shared with its other workers.
        earlier: advice about the same graph, samples and seed: what it has fitted is not fitted again.
    """

    evaluator: PlanEvaluator
    request: Request
    limits: LeakageLimits
    methods: tuple[str, ...]
    training: Samples
    validation: Samples | None = None
    folder: Path | None = None
    seconds: float | None = None
    study: str = ""
    store: FittedStore | None = None
    earlier: Advice | None = None
    plans: list[Plan] = field(default_factory=list, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    heads: list[Plan] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._started = time.monotonic()

    def pairs(self) -> list[Pair]:
        """Every method at each of the few cuts whose costs the budgets allow, by depth."""
        found = []
        for name in (name for name in self.methods if name != HEAD):
            method = METHODS.find(name)
            priced = [
                (self._missed(cut, payload_of(cut, method.complete(recipe))), cut, recipe)
                for cut, recipe in self._places(name)
            ]
            least = min((missed for missed, _, _ in priced), default=0.0)
            allowed = {cut.index: (cut, recipe) for missed, cut, recipe in priced if missed <= least}
            chosen = schedule.spread_over_depth([cut for cut, _ in allowed.values()], schedule.MOST_CUTS)
            found += [Pair(cut, name, allowed[cut.index][1]) for cut in chosen]
            if "labels" in method.needs and self.training.labels is None:
                raise DataError(f"The defense {name!r} learns from labels, and the data have none.", "Pass labels.")
        return sorted(found, key=lambda pair: pair.cut.index)

    def _places(self, name: str) -> list[tuple[Cut, dict[str, Any]]]:
        candidates = self.evaluator.candidates
        cuts = encodable(candidates) if self.evaluator.only else where_blocks_end(candidates)
        return [(cut, recipe_at(name, cut, self.request.search.recipe)) for cut in cuts]

    def _missed(self, cut: Cut, payload: Cut) -> float:
        """How far the cost budgets are missed by a payload at a cut, relative to each; before anything is fitted."""
        predicted = self.evaluator.costs(cut, NoDefense(), self.evaluator.tail, payload.message_bytes)
        over = self.request.requirements.excess(predicted)
        limits = self.request.requirements.limits
        return sum(
            math.inf if math.isnan(missed) else missed / max(limits[name], 1e-12)
            for name, missed in over.items() if name not in PRICED_AT
        )  # fmt: skip

    def _recipe(self, pair: Pair) -> dict[str, Any]:
        return METHODS.find(pair.method).complete(pair.recipe)

    def _batch(self, pair: Pair) -> int:
        return int(self._recipe(pair).get("batch", 128))

    @property
    def _tail(self) -> str | None:
        return None if self.evaluator.tail is None else self.evaluator.tail.name

    def _trained(self, pair: Pair) -> float:
        """Share of the model's multiply-adds that a step runs: the cloud half alone where the edge is fixed."""
        macs = self.evaluator.profile["macs"]
        whole, edge = float(macs.values[-1]), float(macs.at(pair.cut).value)
        tuned = self._recipe(pair).get("tuned", "all")
        return 1.0 if tuned == "all" or not whole > 0 else 1 - edge / whole

    @property
    def _inputs(self) -> tuple[Tensor, ...]:
        return self.evaluator.graph.flat(self.training.x)


def encodable(cuts: Sequence[Cut]) -> list[Cut]:
    """Those at which something can be encoded."""
    return [cut for cut in cuts if any(t.is_floating for t in cut.tensors)]


def where_blocks_end(cuts: Sequence[Cut]) -> list[Cut]:
    """Those at which something can be encoded and a block ends, and the last; all of a model without blocks."""
    found = encodable(cuts)
    return [cut for cut in found if cut.block or cut is found[-1]] if any(cut.block for cut in found) else found
