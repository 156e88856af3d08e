"""The stages one after the other, and the answer made of what they found."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from advisor import profilers
from advisor.advice import Advice, load_advice
from advisor.computing.chosen_device import computing_on, said
from advisor.errors import DataError, InterruptedRunError
from advisor.planning.advice_builder import assemble, provenance_of
from advisor.planning.fits.defense_fits import fit_folder
from advisor.planning.fits.fit_recipes import check_recipe
from advisor.planning.preparing.load_and_trace import load, trace
from advisor.planning.preparing.measuring_cuts import measure
from advisor.planning.preparing.preparing_samples import prepare
from advisor.planning.preparing.study_identity import check_study
from advisor.planning.preparing.wanted_defenses import wanted_defenses
from advisor.planning.searching.search import search
from advisor.planning.shared_study.fitted_store import store_of
from advisor.planning.shared_study.study_storage import attack_folder, open_storage
from advisor.planning.stages import Measured, Prepared, Searched, Verified
from advisor.planning.verifying.verification import verify
from advisor.progress import RunListener
from advisor.recorded import Source
from advisor.request import Request
from advisor.support.checkpoint import forget
from advisor.support.interrupts import held
from advisor.support.memory_limit import within
from advisor.support.preserve import left_as_found


def advise(
    request: Request,
    example_inputs: Any = None,
    *,
    trust: bool | Callable[[str], bool] = False,
    earlier: Advice | str | Path | None = None,
    recorded: Source | None = None,
    command: str = "",
    progress: RunListener | None = None,
    keep: Callable[[Advice], None] | None = None,
) -> Advice:
    """The advice that a request asks for.

    Args:
        request: what is wanted.
        example_inputs, trust, earlier, progress, keep: as in `recommend`.
        recorded: where the model's path was read from a file: the hash that its bytes must have.
        command: what reproduces the answer; "" for that of the request.

    Raises:
        AdvisorError, InterruptedRunError: as `recommend`.
    """
    with within(request.machine.memory) as short, computing_on(request.machine.compute):
        return _advised(request, example_inputs, trust, earlier, recorded, command, progress, keep, short)


def _advised(
    request: Request, example_inputs: Any, trust: bool | Callable[[str], bool], earlier: Advice | str | Path | None,
    recorded: Source | None, command: str, progress: RunListener | None, keep: Callable[[Advice], None] | None,
    short: list[str],
) -> Advice:  # fmt: skip
    started, clock, on = time.perf_counter(), time.monotonic(), said()
    before = load_advice(earlier) if isinstance(earlier, str | Path) else earlier
    check(request)
    measured: Measured | None = None
    searched: Searched | None = None
    verified: Verified | None = None
    try:
        with left_as_found(request.model.model if isinstance(request.model.model, nn.Module) else None):
            prepared = _prepared(request, example_inputs, trust, recorded, before, progress)
            measured = measure(request, prepared, progress, clock)
            searched = search(request, measured, progress)
            verified = verify(request, searched, progress)
    except KeyboardInterrupt:  # between two stages: each handles its own
        if searched is None:
            raise InterruptedRunError("preparation", None if measured is None else measured.cost) from None
        verified = verified or Verified(searched=searched, plans=searched.plans, interrupted="verify")
    with held() as waiting:  # the answer is there: Ctrl-C waits until it is kept
        provenance = provenance_of(request, verified, command or request.command(trust is True))
        provenance |= {"computed_on": on, "wall_time_s": time.perf_counter() - started}
        if verified.interrupted:
            provenance["interrupted"] = verified.interrupted
        advice = assemble(request, verified, provenance)
        advice = dataclasses.replace(advice, assumptions=(*advice.assumptions, *short))
        if waiting.forget() and not verified.interrupted:
            advice = dataclasses.replace(advice, provenance={**advice.provenance, "interrupted": "assembly"})
        if keep is not None:
            keep(advice)
        if not advice.provenance.get("interrupted"):
            forget(attack_folder(request.search.storage))
            forget(fit_folder(request))
    return advice


def _prepared(
    request: Request, example: Any, trust: bool | Callable[[str], bool], recorded: Source | None, before: Advice | None,
    progress: RunListener | None,
) -> Prepared:  # fmt: skip
    """The stages up to samples by role; nothing keeps the data as they were read."""
    inputs = load(request, progress, example=example, trust=trust, recorded=recorded, earlier=before)
    return prepare(request, trace(request, inputs, progress), progress)


def check(request: Request) -> None:
    """Refuse, before anything slow, what is in no catalog, and a storage that cannot be used.

    Raises:
        AdvisorError: naming it.
    """
    methods = wanted_defenses(request.search.defenses).methods
    check_recipe(methods, request.search.recipe)
    if methods and request.data.data is None:
        raise DataError("A defense is fitted to samples, and none are given.", "Pass data, with --data or data=.")
    check_study(request)
    open_storage(request.search.storage)
    store_of(request)
    profilers.device(request.target.device), profilers.link(request.target.link), profilers.device(request.target.cloud)
