"""The options of an earlier recommendation, but for those given now: for `--from DIR` and for an attacked advice."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.plans import Advice

_NOT_REPEATED = ("out", "as_json", "earlier", "model_file", "trusted", "pictures")
"""Trust, and leave to keep private inputs, are given anew each time: a file may not grant them."""


def options(context: typer.Context, earlier: Advice | None) -> dict[str, Any]:
    """What `recommend` is to do, by name of option: `repeated`, and the model.

    Raises:
        AdvisorError: when no MODEL is given and none is recorded, or both MODEL and --model are.
    """
    values = repeated(context, earlier)
    if values["model_file"] is not None and _given(context, "model"):
        raise AdvisorError("Both MODEL and --model name the model.", "Give one of them.")
    values["model"] = values["model_file"] or values["model"]
    if values["model"] is None and earlier is not None:
        raise AdvisorError("This advice was made in Python and records no command.", "Name MODEL and --data again.")
    if values["model"] is None:
        raise AdvisorError("There is no MODEL to recommend for.", "Name it, or --from the folder of earlier advice.")
    return values


def repeated(context: typer.Context, earlier: Advice | None) -> dict[str, Any]:
    """Every option by name: as given now, else as in the command that the earlier advice records, else its default."""
    recorded = {} if earlier is None else _recorded(context, str(earlier.provenance.get("command") or ""))
    again = {name for name in context.params if name in recorded and not _given(context, name)}
    return context.params | {name: recorded[name] for name in again}


def _recorded(context: typer.Context, command: str) -> dict[str, Any]:
    recommend = context.find_root().command.commands["recommend"]  # type: ignore[attr-defined]  # typer's group
    words = shlex.split(command)[2:]  # after `advisor recommend`
    parsed = recommend.make_context("recommend", words, resilient_parsing=True).params
    return {name: value for name, value in parsed.items() if name not in _NOT_REPEATED}


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def load(folder: Path | None, model_file: str | None) -> Advice | None:
    """The earlier advice; a model file named beside it must be the one it is about.

    Raises:
        AdvisorError: when there is none, or `model_file` has another SHA-256.
    """
    if folder is None:
        return None
    from advisor.plans import check_model_file, load_advice

    advice = load_advice(folder)
    if model_file is not None:
        check_model_file(advice, model_file)
    return advice
