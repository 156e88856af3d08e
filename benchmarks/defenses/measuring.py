"""What a row loses and gives away: paired accuracy on test images, `quick` or the worst set on private ones."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import advisor
from advisor.activations import Activations
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from benchmarks.defenses.fits import fitted
from benchmarks.defenses.protocol import DRAWS, SCREEN_SAMPLES, VERSION, WORST_SAMPLES, Row


@dataclass(frozen=True)
class Screened:
    """One row of `screen.csv`: accuracies in %, drops and their standard errors in percentage points."""

    protocol: int
    cut: str
    method: str
    level: float
    seed: int
    undefended: float
    accuracy: float
    drop: float
    drop_se: float
    nmse: float
    nmse_se: float
    ssim: float
    edge_macs: float
    bytes: float
    fit_s: float
    attack_s: float


@dataclass(frozen=True)
class Worst:
    """One row of `worst.csv`: the lowest NMSE of the attackers that know the defense, and of the floor."""

    protocol: int
    cut: str
    method: str
    level: float
    seed: int
    nmse: float
    nmse_se: float
    ssim: float
    by: str
    floor: float
    members: str
    attack_s: float


def payload_of(graph: PartitionGraph, row: Row, data: Any, state: Path) -> tuple[Payload, float]:
    """What a row sends, and how long its fit took in seconds."""
    where, split, seconds = graph, graph.cut(row.cut), 0.0
    if row.fitted:
        variant, seconds = fitted(graph, row, data, state)
        where, split = variant, variant.payload
    if row.level == 0:
        own = "int8" if row.method == "int8" else where.made_for(split) or None
        return Payload.of(where, split, own), seconds
    held = [t for t in Activations(where, (data["validation"][0],)).at(split) if t.is_floating_point()]
    rms = float(torch.cat([t.flatten() for t in held]).double().square().mean().sqrt())
    return Payload.of(where, split, f"gaussian:sigma={row.level * rms:.6g}"), seconds


def screened(graph: PartitionGraph, row: Row, data: Any, state: Path) -> Screened:
    """Accuracy, cost and the quick attack."""
    payload, fit_seconds = payload_of(graph, row, data, state)
    bare, own, drops = paired(graph, payload, data["test"], row.seed)
    started = time.perf_counter()
    found = attacked(payload, data, SCREEN_SAMPLES, "ka", "quick", row.seed)
    cost = advisor.profile(payload.graph)
    return Screened(
        VERSION, *row.key, 100 * bare, 100 * own, 100 * float(drops.mean()),
        100 * float(drops.std(ddof=1) / len(drops) ** 0.5), found.nmse.value, found.nmse.stderr, found.ssim.value,
        cost["macs"].at(payload.cut).value, payload.defense.wire_bytes(payload.cut), fit_seconds,
        time.perf_counter() - started,
    )  # fmt: skip


def worst(graph: PartitionGraph, row: Row, data: Any, state: Path) -> Worst:
    """The worst of the attackers that know graph, cut and defense, and of the floor."""
    payload, _ = payload_of(graph, row, data, state)
    started = time.perf_counter()
    found = attacked(payload, data, WORST_SAMPLES, "worst", "strong", row.seed)
    members = {name: float(value) for name, value in found.members.items() if math.isfinite(float(value))}
    return Worst(
        VERSION, *row.key, found.nmse.value, found.nmse.stderr, found.ssim.value, min(members, key=members.__getitem__),
        members["floor"], ";".join(f"{name}={value:.4f}" for name, value in members.items()),
        time.perf_counter() - started,
    )  # fmt: skip


def paired(graph: PartitionGraph, payload: Payload, test: Any, seed: int) -> tuple[float, float, Any]:
    """Share right of the undefended model and under the defense, and each image's loss of it over the noise's draws."""
    x, y = test
    bare = right(Payload.of(graph, graph.cuts[-1], None), x, y, 0)
    held = Activations(payload.graph, (x,)).at(payload.cut)
    draws = DRAWS if payload.defense.random else 1
    own = np.mean([right_of(payload, held, y, seed * 100 + draw) for draw in range(draws)], axis=0)
    return float(bare.mean()), float(own.mean()), bare - own


def right(payload: Payload, x: torch.Tensor, y: torch.Tensor, seed: int) -> Any:
    """1 for each image that is answered correctly."""
    return right_of(payload, Activations(payload.graph, (x,)).at(payload.cut), y, seed)


def right_of(payload: Payload, held: Any, y: torch.Tensor, seed: int) -> Any:
    """The same, of activations."""
    scores = payload.scores(held, seed)
    assert scores is not None
    return scores.argmax(1).eq(y).double().numpy()


def attacked(payload: Payload, data: Any, samples: int, name: str, budget: str, seed: int) -> Any:
    """An attack on the private images by one who has so many of his own."""
    return advisor.attack(
        payload.graph, payload.cut, data["private"][0], aux=data["attacker"][0][:samples], name=name,
        defense=payload.defense, budget=budget, seed=seed,
    )  # fmt: skip
