"""What a release gate measures: the model and data that are given now, else those that the advice records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from advisor import profilers
from advisor.advice import Advice
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.loading.pickles import Trust
from advisor.planning.preparing.load_and_trace import load, trace
from advisor.planning.preparing.preparing_samples import prepare
from advisor.planning.stages import Inputs, Prepared, Traced
from advisor.progress import RunListener
from advisor.recorded import Source, contradicts_itself, harmless, is_catalog_device, recorded_data, recorded_model
from advisor.request import Request
from advisor.request_parts import SOURCES
from advisor.requirements import REQUIREMENTS

LEFT_OUT = ("thresholds", "profile")
"""Of a recorded request: what is chosen by, as a plan is chosen already; a recorded profile is a file."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, what is asked of it, and what was opened.

    Attributes:
        request: the recorded one, with what is given now.
        traced: the model; None where it could not be had.
        why_no_model, why_no_data: the reason, "" where there is none.
        priced: whether its costs are estimated from the catalog, or are measured now because that was asked for.
        notes: what was opened, one sentence each.
    """

    request: Request | None
    traced: Traced | None
    why_no_model: str
    why_no_data: str
    priced: bool
    notes: tuple[str, ...] = ()

    def prepared(self, progress: RunListener | None) -> Prepared | None:
        """Graph and samples; None where either is missing."""
        if self.traced is None or self.request is None or self.why_no_data:
            return None
        return prepare(self.request, self.traced, progress)


def subject(
    advice: Advice, folder: Path, model: Any, data: Any, options: Mapping[str, Any], *, samples: bool,
    trust: Trust = False, progress: RunListener | None = None,
) -> Subject:  # fmt: skip
    """Open what is to be checked; what is recorded only where rule and hash allow.

    Args:
        advice: whose record is used where nothing is given.
        folder: where the advice lies.
        model, data: what is given now, or None.
        options: keywords of `recommend` that are given now.
        samples: whether samples are wanted.
        trust: run code from the model file, or a question to the user.
        progress: told of each stage.

    Raises:
        AdvisorError: when what is given cannot be used.
    """
    notes: list[str] = []
    chosen, source, why_no_model = _model(advice, folder, model, notes)
    given, why_no_data = _samples(advice, folder, {"data": data, **options}, notes, samples)
    taken = harmless(advice.request)
    priced = _priced(advice, taken.refused, options)
    recorded = {name: value for name, value in taken.options.items() if name not in (*LEFT_OUT, *REQUIREMENTS)}
    if chosen is None:
        return Subject(None, None, why_no_model, why_no_data, priced, tuple(notes))
    if "arch" in taken.refused and "arch" not in options and isinstance(chosen, str | Path):
        raise AdvisorError(
            f"The model of this advice is built by --arch {taken.refused['arch']}, which names code: that is not "
            "taken from a file.", "Give --arch again, this one or another.",
        )  # fmt: skip
    recorded |= {"defenses": "trained"} if _set_apart(advice) else {}
    request = Request.of(model=chosen, **{**recorded, **options, **given})
    inputs = load(request, progress, trust=trust, recorded=source)
    notes += inputs.notes
    traced = trace(request, _with_example(inputs, advice), progress)
    return Subject(request, traced, "", why_no_data, priced, tuple(dict.fromkeys((*notes, *traced.notes))))


def _model(advice: Advice, folder: Path, model: Any, notes: list[str]) -> tuple[Any, Source | None, str]:
    """The model, the bytes that it must have where a file names it, and why there is none."""
    if model is not None:
        return model, None, ""
    own = None if advice.request is None else advice.request.model.model
    if own is not None and not isinstance(own, str | Path):
        return own, None, ""  # still in memory
    try:
        source = recorded_model(advice, folder)
    except AdvisorError as error:
        return None, None, error.problem
    if contradicts_itself(advice):
        source = source.doubted("its command is not that of its request")
    notes.append(f"Model {source.place}, as the advice records.")
    return source.place, source, ""


def _samples(
    advice: Advice, folder: Path, given: Mapping[str, Any], notes: list[str], wanted: bool
) -> tuple[dict[str, Any], str]:
    """The samples by keyword, and why there are none; {} and no reason where they are made up, as they were."""
    if not wanted:
        return dict.fromkeys(SOURCES), "No samples were opened."
    found: dict[str, Any] = {}
    for keyword in SOURCES:
        found[keyword] = given.get(keyword)
        own = None if advice.request is None else getattr(advice.request.data, keyword)
        if found[keyword] is not None or own is None:
            continue
        if not isinstance(own, str | Path):
            found[keyword] = own  # still in memory
            continue
        try:
            source = recorded_data(advice, folder, keyword)
        except AdvisorError as error:
            return dict.fromkeys(SOURCES), error.problem
        if source is not None:
            notes.append(f"{keyword.replace('_', ' ').capitalize()} from {source.place}, as the advice records.")
            found[keyword] = source.place
    return found, ""


def _set_apart(advice: Advice) -> bool:
    """Whether samples were set apart to train on: then nothing is measured on them now."""
    roles = advice.provenance.get("roles")
    return isinstance(roles, Mapping) and "training" in roles


def _priced(advice: Advice, refused: Mapping[str, str], options: Mapping[str, Any]) -> bool:
    """Whether costs can be told now: by the catalog, or by a measurement that was asked for."""
    if advice.request is None:
        return False
    target = advice.request.target
    if target.profile is not None and "profile" not in options and "device" not in options:
        return False
    if "link" in refused and "link" not in options:
        return False
    machines = {"device": target.device, "cloud": target.cloud}
    return all(name in options or _in_catalog(place) for name, place in machines.items())


def _in_catalog(place: str) -> bool:
    return is_catalog_device(place) and place.partition(":")[0] != profilers.LOCAL


def _with_example(inputs: Inputs, advice: Advice) -> Inputs:
    """A module without an example is traced with inputs of the shapes that the advice records."""
    plan, model = advice.best_split or advice.best, inputs.loaded.model
    if not isinstance(model, nn.Module) or isinstance(model, PartitionGraph) or inputs.example is not None:
        return inputs
    if inputs.loaded.example_inputs is not None or plan is None or plan.inputs is None:
        return inputs
    if plan.inputs.structure is None:
        return inputs
    positional, by_name = plan.inputs.example()
    if positional and by_name:
        return inputs
    return dataclasses.replace(inputs, example=by_name or positional)
