"""Defenses: what happens to an activation before it is sent (`payload/`), and what learns what to send (`methods/`)."""

from __future__ import annotations

from advisor.defenses.by_name import (
    DEFENSES,
    SETS,
    as_defense,
    defense_from_json,
    defense_names,
    defense_to_json,
    parse_defense,
    recorded_defense,
)
from advisor.defenses.payload.absent import AbsentDefense
from advisor.defenses.payload.base import CutFacts, Defense
from advisor.defenses.payload.chain import Chain
from advisor.defenses.payload.gaussian import GaussianNoise
from advisor.defenses.payload.none import NoDefense
from advisor.defenses.payload.quantize import Quantize8

__all__ = [
    "DEFENSES",
    "SETS",
    "AbsentDefense",
    "Chain",
    "CutFacts",
    "Defense",
    "GaussianNoise",
    "NoDefense",
    "Quantize8",
    "as_defense",
    "defense_from_json",
    "defense_names",
    "defense_to_json",
    "parse_defense",
    "recorded_defense",
]
