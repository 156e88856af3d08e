"""Which attack finds the floor of a payload, and when it was found before."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.estimate import Estimate
from advisor.estimators.attacks.support.channel import Channel
from advisor.estimators.attacks.support.floors import METHOD, Floor, fingerprint, fixed, none
from advisor.estimators.attacks.support.metrics import AttackResult
from advisor.estimators.attacks.worst import FLOOR


@dataclass(frozen=True, eq=False)
class Asked:
    """What the floor's attack is given, as the attack was, and what runs it."""

    attack: Callable[..., AttackResult]
    x: Any
    aux: Any
    budget: str
    seed: int
    aux_samples: int | None
    folder: str | Path | None


def floor_of(channel: Channel, found: AttackResult, end: int, asked: Asked) -> Floor:
    """What finds the floor of a payload, unless the attack was that.

    Args:
        channel: of the attack.
        found: its result.
        end: index of the cut of the model's output, or of what is sent back.
        asked: how the attack was called.
    """
    payload, place = channel.payload, channel.payload.cut.index
    if math.isnan(found.nmse.value):
        return fixed(none(found.nmse.method))
    if FLOOR in found.members:
        return fixed(found.members[FLOOR])
    if not any(spec.is_floating for spec in payload.graph.cuts[end].tensors):
        return fixed(none("the model's output holds no floating-point numbers"))
    if found.name == "ka" and end == (place if channel.beyond is None else channel.beyond):
        return fixed(found.nmse)

    def find() -> Estimate:
        result = asked.attack(
            payload.graph, place, asked.x, asked.aux, defense=payload.defense, budget=asked.budget, seed=asked.seed,
            aux_samples=asked.aux_samples, repeats=channel.repeats, beyond=None if place == end else end,
            folder=asked.folder, walks=channel.walks,
        )  # fmt: skip
        return dataclasses.replace(result.nmse, method=METHOD)

    def key() -> Hashable:
        samples = [] if isinstance(asked.aux, str) or asked.aux is None else [*payload.graph.flat(asked.aux)]
        same = (None, "") if payload.defense.identity else (place, f"{type(payload.defense)}{payload.defense.spec}")
        return (
            payload.graph.digest, *same, end, asked.budget, asked.seed, asked.aux_samples, channel.repeats,
            asked.aux if isinstance(asked.aux, str) else len(samples),
            fingerprint([*payload.graph.flat(asked.x), *samples]),
        )  # fmt: skip

    return Floor(find, key)
