"""Which measurements of earlier advice still apply: those of the same graph, by its digest, taken in the same way."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from advisor import profilers
from advisor.advice import Advice
from advisor.columns import Profile
from advisor.estimators.noise import NoiseCurve
from advisor.estimators.study.leakage_study import LeakageStudy, repeated
from advisor.estimators.study.study_samples import study_samples
from advisor.estimators.study.zone import ZoneThresholds
from advisor.graph import PartitionGraph
from advisor.planning.stages import Prepared
from advisor.profilers import Device, Link
from advisor.sweep import TIME_UP

LEAKAGE_TAKEN = "Leakage was taken from the earlier advice: same model, data, seed and cuts."
COST_TAKEN = "Costs were taken from the earlier advice: same model, cuts, device, link and cloud."


@dataclass(frozen=True)
class Target:
    """Where the halves run and what lies between, as the catalog has them now."""

    device: Device
    link: Link
    cloud: Device


def cost(prepared: Prepared, target: Target) -> Profile | None:
    """The cost columns of the earlier advice; None where they would be others, or nobody can tell.

    Times of this computer count on the same system, threads and torch only; those of a calibrated device, or with
    columns of a given profile, never: its file may have changed.
    """
    earlier, graph = prepared.inputs.earlier, prepared.graph
    if earlier is None or earlier.request is None or earlier.request.target.profile is not None:
        return None
    told = earlier.profile.provenance
    columns = (told.get("cost") or {}).get("columns")
    if not isinstance(columns, dict) or list(columns) != list(profilers.PROFILERS.working()):
        return None
    names = [name for given in columns.values() for name in given]
    same = (
        _same_graph(earlier, graph)
        and _same_version(earlier, "partition-advisor")
        and all(name in earlier.profile for name in names)
        and all(told.get(key) == row for key, row in profilers.recorded(*vars(target).values()).items())
        and all(_repeatable(machine, earlier) for machine in (target.device, target.cloud))
    )
    if not same:
        return None
    kept = {key: value for key, value in told.items() if key != "leakage"}
    return Profile(graph.cuts, {name: earlier.profile[name] for name in names}, kept)


def still_applies(prepared: Prepared, seed: int, taken: bool) -> tuple[Advice | None, list[str]]:
    """Earlier advice about the same graph, inputs, data and seed; of another None, and what differs.

    Args:
        prepared: graph and samples, and the earlier advice.
        seed: of this run.
        taken: whether the costs of the earlier advice were.
    """
    earlier, graph = prepared.inputs.earlier, prepared.graph
    if earlier is None:
        return None, []
    same_seed = earlier.provenance.get("seed") == seed
    checks = {
        "model": _digest(earlier) == graph.digest,
        "input": [plan.inputs for plan in earlier.baselines[:1]] == [graph.inputs],
        "data": not same_seed or fingerprints(earlier) == prepared.roles.fingerprints,  # the seed divides them
        "seed": same_seed,
        "version": _same_version(earlier, "partition-advisor"),
    }
    other = " and ".join(what for what, same in checks.items() if not same)
    if not other:
        return earlier, []
    said = "Only costs were" if taken else "Nothing was"
    return None, [f"{said} taken from the earlier advice: it has another {other}."]


def leakage(
    prepared: Prepared, earlier: Advice, cost: Profile, thresholds: ZoneThresholds | None, seed: int
) -> LeakageStudy | None:
    """The leakage study of the earlier advice, which still applies; None where it has other cuts."""
    graph, roles = prepared.graph, prepared.roles
    if not _same_graph(earlier, graph) or any(TIME_UP in column.why for column in earlier.profile):
        return None
    curves = {
        name: NoiseCurve(np.array(curve.sigma), np.array(curve.nmse), curve.bare)
        for name, curve in earlier.noise.items()
    }
    attacked = (earlier.profile.provenance.get("leakage") or {}).get("cuts_attacked", len(graph.cuts))
    columns = {column.name: column for column in earlier.profile if column.name not in cost}
    kept = Profile(graph.cuts, columns, {"leakage": {"cuts_attacked": attacked}})
    private, own = roles["private"], roles["attacker"]
    samples = study_samples(graph, private.x, private.labels, own.x, own.labels, seed)
    return repeated(
        graph, samples, kept, curves, thresholds=thresholds, seed=seed, baseline=_mean_ssim(earlier), bounds=True
    )


def _mean_ssim(earlier: Advice) -> float | None:
    """SSIM of the mean image, where it is recorded: what measures it takes seconds to import."""
    known = (earlier.provenance.get("zone") or {}).get("mean_image_ssim")
    return known if isinstance(known, float) and -1 <= known <= 1 else None


def fingerprints(earlier: Advice) -> dict[str, Any]:
    """Of each role's samples; none where an earlier version had no roles."""
    roles = earlier.provenance.get("roles")
    if not isinstance(roles, dict):
        return {}
    return {role: row.get("fingerprint") for role, row in roles.items() if isinstance(row, dict)}


def _same_graph(earlier: Advice, graph: PartitionGraph) -> bool:
    """Whether it computes the same and is cut at the same places."""
    return _digest(earlier) == graph.digest and earlier.profile.cuts == graph.cuts


def _digest(earlier: Advice) -> str:
    return earlier.profile.cuts[0].graph


def _same_version(earlier: Advice, package: str) -> bool:
    known = earlier.provenance.get("versions") or {}
    return bool(known.get(package) == version(package))


def _repeatable(machine: Device, earlier: Advice) -> bool:
    if machine.calibration:
        return False
    return machine.name != profilers.LOCAL or (
        _same_version(earlier, "torch") and earlier.provenance.get("host") == host()
    )


def host() -> dict[str, Any]:
    """This computer, as an advice records it."""
    return {"system": platform.platform(), "threads": torch.get_num_threads()}
