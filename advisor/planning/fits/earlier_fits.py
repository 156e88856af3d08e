"""Fits of earlier advice, by the digest of all that decided them: their weights lie beside it."""

from __future__ import annotations

from advisor.advice import Advice
from advisor.defenses.training.fitted_files import load_variant
from advisor.graph import PartitionGraph
from advisor.variant import Variant


def taken_from(earlier: Advice | None, base: PartitionGraph, key: str) -> tuple[Variant, float] | None:
    """The variant of a fit that earlier advice holds, and the seconds that it took; None where it has none.

    Args:
        earlier: the advice, as it was read from its folder; None: there is none.
        base: the graph that is fitted.
        key: the fit's `recipe["fit"]`: digest of base, cut, method, recipe, data and seed.

    Raises:
        AdvisorError: where the weights were changed.
    """
    for plan in () if earlier is None else (*earlier.plans, *earlier.tried):
        fit = plan.fitted
        if fit is None or fit.recipe.get("fit") != key or plan.folder is None or not fit.file(plan.folder).is_file():
            continue
        variant = load_variant(fit.file(plan.folder), base)
        if variant.recipe.get("fit") == key:  # of the weights themselves: what the advice says may be a stranger's
            return variant, float(fit.seconds)
    return None
