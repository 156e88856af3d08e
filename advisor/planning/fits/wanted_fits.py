"""What a recommendation will fit at most, before costs tell which cuts the budgets allow: its time is told by it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advisor.defenses.methods import METHODS
from advisor.graph import PartitionGraph
from advisor.planning.fits import fit_schedule as schedule
from advisor.planning.fits.fit_places import HEAD, where_blocks_end
from advisor.planning.fits.fit_recipes import payload_of, recipe_at
from advisor.planning.timing.fit_times import FIT_SECONDS, WantedFit, WantedFits
from advisor.request_parts import SearchPart


def wanted_fits(search: SearchPart, graph: PartitionGraph, methods: Sequence[str], samples: int) -> WantedFits | None:
    """Every method at as many cuts as may be tried; None where nothing is fitted.

    Args:
        search: effort and recipe.
        graph: the traced model.
        methods: names of what is fitted.
        samples: to fit to.
    """
    found = []
    for name in (name for name in methods if name != HEAD):
        method = METHODS.find(name)
        for cut in schedule.spread_over_depth(where_blocks_end(graph.cuts[1:-1]), schedule.MOST_CUTS):
            recipe = method.complete(recipe_at(name, cut, search.recipe))
            batch = int(recipe.get("batch", 128))
            steps = method.epochs(recipe, samples) * math.ceil(samples / batch)
            short = min(schedule.SHORT_STEPS, steps)
            found.append(WantedFit(payload_of(cut, recipe), batch, short, steps))
    finalists, levels = schedule.FINALISTS[search.effort], schedule.LEVELS[search.effort]
    return WantedFits(tuple(found), finalists, levels, FIT_SECONDS[search.effort]) if found else None
