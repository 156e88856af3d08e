"""What a recommendation asks of a fit: recipe by cut, payload before it is fitted, what a plan says afterwards."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from advisor.cuts import Cut, TensorSpec
from advisor.data.samples import Samples
from advisor.defenses.methods import METHODS
from advisor.defenses.training.fitted_files import variant_digest
from advisor.errors import AdvisorError
from advisor.fitted import FittedDefense
from advisor.graph import PartitionGraph
from advisor.planning.fits.fit_schedule import Pair
from advisor.support.recipe_text import read_recipe
from advisor.variant import Variant

LARGE, SMALL = 8, 5
"""Sides of a map, in cells: larger ones are reduced to the first, those from the second on to half."""


def recipe_at(method: str, cut: Cut, given: str | None) -> dict[str, Any]:
    """What is asked of a method at a cut: maps are also reduced in size; what the user set of it wins."""
    settings = METHODS.find(method).settings
    shape = next((t.shape for t in cut.tensors if t.is_floating), ())
    own = {"stride": reduction(min(shape[1:]))} if settings.get("stride") == 1 and len(shape) == 3 else {}
    return own | {name: value for name, value in read_recipe(given).items() if name in settings}


def check_recipe(methods: Sequence[str], given: str | None) -> None:
    """Refuse a setting that none of the methods has.

    Raises:
        AdvisorError: naming it, and those that there are.
    """
    known = list(dict.fromkeys(name for method in methods for name in METHODS.find(method).settings))
    for name in read_recipe(given):
        if name not in known:
            told = f"They are: {', '.join(known)}." if known else "Name a method with --defenses."
            raise AdvisorError(f"Nothing that is fitted has a setting {name!r}.", told)


def reduction(side: int) -> int:
    """The stride by which a map of this side is reduced."""
    if side > LARGE:
        return max(2, side // LARGE)
    return 2 if side >= SMALL else 1


def payload_of(cut: Cut, recipe: Mapping[str, Any]) -> Cut:
    """What a bottleneck of this recipe makes of a cut's activation; without one, the activation itself."""
    width, stride = recipe.get("width"), int(recipe.get("stride") or 1)
    if width is None:
        return cut
    return dataclasses.replace(cut, tensors=tuple(_narrowed(spec, int(width), stride) for spec in cut.tensors))


def _narrowed(spec: TensorSpec, width: int, stride: int) -> TensorSpec:
    if not spec.is_floating or not spec.shape:
        return spec
    if len(spec.shape) == 3:
        return TensorSpec((width, *(math.ceil(side / stride) for side in spec.shape[1:])), "float32")
    return TensorSpec((*spec.shape[:-1], width), "float32")


def noise_range(fitted: FittedDefense) -> tuple[float, float]:
    """Of the fit, in units of the payload's root mean square."""
    low, high = fitted.recipe.get("sigma") or (0.0, 0.0)
    return float(low), float(high)


def fitted_of(variant: Variant, seconds: float, short: bool) -> FittedDefense:
    """What a plan says of a fit."""
    recipe = dict(variant.recipe)
    return FittedDefense(
        variant_digest(variant), str(recipe["method"]), variant.at, recipe, seconds, variant.changes,
        tuple(recipe.get("trained_against", ())), (), short,
    )  # fmt: skip


def fit_digest(
    graph: PartitionGraph, pair: Pair, recipe: dict[str, Any], part: Samples, seed: int, start: str | None
) -> str:
    """What a fit is known by: base, place, method, recipe, samples, seed, digest of what it goes on from."""
    told = [graph.digest, pair.cut.name, pair.method, recipe, part.fingerprint, len(part), seed, start]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
