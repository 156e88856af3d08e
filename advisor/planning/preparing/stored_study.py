"""The leakage study of a stored run: numbers by cut, kept as an artifact. Reconstructions and activations stay here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from advisor.advice import NoiseLevels
from advisor.columns import Profile
from advisor.errors import AdvisorError
from advisor.estimators.noise import NoiseCurve
from advisor.estimators.study.leakage_study import LeakageStudy, repeated
from advisor.estimators.study.study_samples import study_samples
from advisor.estimators.study.zone import ZoneThresholds
from advisor.planning.shared_study.fitted_store import FittedStore
from advisor.planning.shared_study.results import Results, Task, digest_of, strange
from advisor.planning.stages import Prepared

ENDING = ".json"
_NOISE = TypeAdapter(dict[str, NoiseLevels])


def stored_study(
    results: Results, store: FittedStore, prepared: Prepared, thresholds: ZoneThresholds | None, seed: int,
    most_cuts: int | None, compute: Callable[[], LeakageStudy],
) -> LeakageStudy:  # fmt: skip
    """The study, computed here or by another worker of the storage, in this run or in one that was killed.

    Args:
        results, store: where what was computed is found, and its numbers.
        prepared: graph and samples.
        thresholds: of the zone, which is judged anew.
        seed: of the study.
        most_cuts: that the quick attack may be run at; None for all.
        compute: makes it.

    Raises:
        AdvisorError: on an artifact that this program could not have written.
    """
    graph, here = prepared.graph, list[LeakageStudy]()
    cuts = [cut.name for cut in graph.cuts]
    told = digest_of(
        version("partition-advisor"), version("torch"), graph.digest, cuts, prepared.roles.fingerprints, seed, most_cuts
    )

    def kept() -> dict[str, Any]:
        here.append(compute())
        attacked = here[0].profile.provenance["leakage"]["cuts_attacked"]
        if attacked < min(len(cuts), len(cuts) if most_cuts is None else most_cuts):
            return {"digest": ""}  # the time was up: another run may have more
        data = as_bytes(here[0])
        digest = hashlib.sha256(data).hexdigest()
        store.write(f"{digest}{ENDING}", data)
        return {"digest": digest}

    task = Task("study", told, kept)
    found = results.one(task)
    if here:
        return here[0]
    digest = found.get("digest") if isinstance(found, dict) else None
    if not isinstance(digest, str):
        raise strange(task, ValueError("it names no study"))
    data = store.read(f"{digest}{ENDING}") if digest else None
    if data is None:
        return compute()  # its numbers are on another machine (see --artifacts), or its time was up
    if hashlib.sha256(data).hexdigest() != digest:
        raise strange(task, ValueError("its bytes are not those that were written"))
    try:
        return _read(json.loads(data), prepared, thresholds, seed)
    except (ValidationError, AdvisorError, ValueError, KeyError, TypeError) as error:
        raise strange(task, error) from None


def as_bytes(found: LeakageStudy) -> bytes:
    """Columns, noise curves and the likeness of the mean image, as JSON: no sample, no reconstruction."""
    noise = {
        name: NoiseLevels(tuple(curve.sigma.tolist()), tuple(curve.nmse.tolist()), curve.bare)
        for name, curve in found.curves.items()
    }
    payload = {
        "profile": found.profile.to_json(), "noise": _NOISE.dump_python(noise, mode="json"),
        "mean_image_ssim": None if math.isnan(found.baseline_ssim) else found.baseline_ssim,
    }  # fmt: skip
    return json.dumps(payload, allow_nan=False).encode()


def _read(payload: Mapping[str, Any], prepared: Prepared, thresholds: ZoneThresholds | None, seed: int) -> LeakageStudy:
    profile, roles = Profile.from_json(payload["profile"]), prepared.roles
    if profile.cuts != prepared.graph.cuts:
        raise ValueError("it has other cuts")
    levels = _NOISE.validate_python(payload["noise"])
    curves = {name: NoiseCurve(np.array(c.sigma), np.array(c.nmse), c.bare) for name, c in levels.items()}
    similar = payload["mean_image_ssim"]
    private, own = roles["private"], roles["attacker"]
    samples = study_samples(prepared.graph, private.x, private.labels, own.x, own.labels, seed)
    return repeated(
        prepared.graph, samples, profile, curves, thresholds=thresholds, seed=seed,
        baseline=math.nan if similar is None else float(similar), bounds=True,
    )  # fmt: skip
