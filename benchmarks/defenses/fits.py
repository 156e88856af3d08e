"""Fits that a killed run goes on with: one for a method, cut and seed, whatever the noise in use."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import advisor
from advisor.defenses.training.fitted_files import load_variant, save_variant
from advisor.graph import PartitionGraph
from advisor.variant import Variant
from benchmarks.defenses.protocol import BATCH, EPOCHS, FIT_SIGMA, Row


def fitted(graph: PartitionGraph, row: Row, data: Any, state: Path) -> tuple[Variant, float]:
    """The variant of a row and the seconds that its fit took; from disk where it was fitted before."""
    name = f"{row.cut}-{row.method}-{row.seed}".replace("/", "_")
    index = state / f"{name}.json"
    if index.exists():
        kept = json.loads(index.read_text())
        return load_variant(state / kept["file"], graph), float(kept["seconds"])
    started = time.perf_counter()
    variant = advisor.defend(
        graph, row.cut, row.fits, data["training"][0], val=data["validation"][0], seed=row.seed,
        folder=state / f"{name}-fit", **settings(row),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    file = save_variant(variant, state)
    index.write_text(json.dumps({"file": str(file.relative_to(state)), "seconds": seconds}))
    return variant, seconds


def settings(row: Row) -> dict[str, Any]:
    """The recipe of a row: the same length for all, noise for those that are meant to stand it."""
    found = {"epochs": EPOCHS, "batch": BATCH, **row.recipe}
    known = method_settings(row.fits)
    if "sigma" in known and row.method not in ("tuned-bare", "local-head"):
        found["sigma"] = FIT_SIGMA
    return {name: value for name, value in found.items() if name in known}


def method_settings(method: str) -> Any:
    """Names and defaults of a method's recipe."""
    from advisor.defenses.methods import METHODS

    return METHODS.find(method).settings
