"""What plans of one model are priced with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from advisor.columns import Profile
from advisor.cuts import Cut
from advisor.data.roles import Roles
from advisor.estimators.study.leakage_study import LeakageStudy
from advisor.graph import PartitionGraph
from advisor.planning.shared_study.results import Results
from advisor.profilers import Device, Link


@dataclass(frozen=True, eq=False)
class PlanSetting:
    """What plans are priced with.

    Attributes:
        graph: the traced model.
        profile: cost and leakage columns.
        study: the leakage study, for what noise does to an attack.
        roles: the samples; accuracy is measured on those for validation, the attacker learns from its own.
        device, link: to price what a defense sends.
        seed: of the defenses' noise.
        tail: where the edge takes over again in every plan (U-shaped), or None.
        folder: where attacks keep what a killed run goes on from, or None.
        only: names of cuts: the edge may stop at no other; empty for any.
        most_rows: samples on which accuracy is measured, where the time allows fewer than usual.
        also: leakage columns beside the score that a plan is asked for.
        results: what was computed before, in this run or over a storage.
    """

    graph: PartitionGraph
    profile: Profile
    study: LeakageStudy
    roles: Roles
    device: Device
    link: Link
    seed: int
    tail: Cut | None = None
    folder: Path | None = None
    only: tuple[str, ...] = ()
    most_rows: int | None = None
    also: tuple[str, ...] = ()
    results: Results = field(default_factory=Results)
