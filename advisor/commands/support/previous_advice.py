"""What an earlier advice gives to a command: harmless options; its model and data where the bytes are the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from advisor.commands.support import options as given
from advisor.commands.support.exits import say
from advisor.commands.support.near_names import check_model_is_there
from advisor.errors import AdvisorError, UnsafeFileError
from advisor.requirements import REQUIREMENTS, own

if TYPE_CHECKING:
    from advisor.advice import Advice
    from advisor.recorded import Source
    from advisor.request import Request

NO_REQUEST = "This advice was made by an earlier version: of its options none are taken."


@dataclass(frozen=True)
class Asked:
    """What a command is to do.

    Attributes:
        request: all of it.
        model: where its path was read from the advice: which bytes it must hold; else None.
    """

    request: Request
    model: Source | None = None


def typed(context: typer.Context) -> dict[str, Any]:
    """The options that were given on the command line, as values, by keyword.

    Raises:
        AdvisorError: on text that is no value; the message names the option.
    """
    from advisor.units import duration, samples, size

    named = {name: value for name, value in context.params.items() if _given(context, name)}
    for name, text in named.items():
        if name in REQUIREMENTS:
            named[name] = REQUIREMENTS[name].limit(text, REQUIREMENTS[name].option)
    if "input_shape" in named:
        named["input_shape"] = given.sizes(named["input_shape"], "--input-shape")
    if "timeout" in named:
        named["timeout"] = given.optional(duration, named["timeout"], "--timeout")
    if "attacker_samples" in named:
        named["attacker_samples"] = given.optional(samples, named["attacker_samples"], "--attacker-samples")
    if "memory" in named:
        named["memory"] = given.optional(size, named["memory"], "--memory")
    return named


def asked(context: typer.Context, earlier: Path | None, use_settings: bool) -> tuple[Asked, Advice | None]:
    """The request of `recommend` (from settings, the earlier advice and the options, in that order), and that advice.

    Raises:
        AdvisorError: when MODEL is missing or named twice, or a recorded value is asked for again.
    """
    from advisor.planning.preparing.wanted_defenses import wanted_defenses
    from advisor.recorded import harmless
    from advisor.request import FIELDS, Request
    from advisor.request_parts import SOURCES

    now = typed(context)
    model, moved = now.pop("model", None), now.pop("model_file", None)
    if model is not None and moved is not None:
        raise AdvisorError("Both MODEL and --model name the model.", "Give one of them.")
    theirs = own_requirements(now.pop("requirement", None) or ())  # before the earlier advice, which may hold them
    if "defenses" in now:  # the earlier advice may hold plans of a user's own, which this loads
        wanted_defenses(now["defenses"])
    before = load(earlier, moved)
    taken = harmless(None if before is None else before.request)
    taken.require(now | ({"requirement": theirs} if theirs else {}))
    for name, value in taken.dropped.items():
        if name == "storage" and name not in now:
            say(f"Note: --storage {value} of the advice is not taken from a file; give it again to resume from it.")
    known = {*(key for keys in FIELDS.values() for key in keys), *REQUIREMENTS}
    options = {**(settings() if use_settings else {}), **taken.options}
    options |= {name: value for name, value in now.items() if name in known} | {"out": context.params["out"]} | theirs
    source = None
    if (chosen := model or moved) is None:
        source = recorded_model(before, earlier)
        chosen = source.place
    else:
        check_model_is_there(chosen)
    if before is not None:
        missing = [keyword for keyword in SOURCES if keyword not in now]
        options |= {keyword: recorded_data(before, _folder(earlier), source, keyword) for keyword in missing}
    return Asked(Request.of(model=chosen, **options), source), before


def own_requirements(typed: Iterable[str]) -> dict[str, float]:
    """Limits by name of what `--requirement` asks for: `package.module:ROW=5`, or a row of the table.

    Raises:
        AdvisorError: when there is no such requirement, or the limit is none.
    """
    found: dict[str, float] = {}
    for text in typed:
        path, _, limit = text.partition("=")
        if not path or not limit:
            raise AdvisorError(
                f"--requirement {text[:60]!r} states no limit.", "Write for example package.module:ROW=5."
            )
        name = own(path)
        found[name] = REQUIREMENTS[name].limit(limit, f"--requirement {path[:60]}")
    return found


def recorded_data(advice: Advice, folder: Path, model: Source | None, keyword: str = "data") -> str | None:
    """The data of an advice: its file, surely the same bytes, or a built-in name; None where samples were made.

    `keyword` says which: "data", "train_data" or "aux".

    Raises:
        UnsafeFileError: when they are not there, and the recorded model would run code: that is said first.
        AdvisorError: when they must be named again.
    """
    from advisor.recorded import recorded_data as find

    try:
        if advice.request is None and keyword == "data":
            say(f"Note: {NO_REQUEST}")
            if "synthetic" not in str((advice.provenance.get("data") or {}).get("description", "synthetic")):
                raise AdvisorError("This advice does not say where its data are.", "Name them with --data.")
        source = find(advice, folder, keyword)
    except AdvisorError:
        if model is not None and model.sha256:
            _refuse_code(model)
        raise
    if source is not None and source.sha256:
        say(f"Note: {keyword.replace('_', ' ')} from {source.place}, as the advice records.")
    return None if source is None else source.place


def _refuse_code(model: Source) -> None:
    """Load a model without trust, for the refusal alone."""
    from advisor.loading import load_model

    try:
        load_model(model.place)
    except UnsafeFileError:
        raise
    except AdvisorError:
        return  # it is no danger: what else is wrong with it is said when it is used


def load(folder: Path | None, model_file: str | None) -> Advice | None:
    """The earlier advice; a model file named beside it must be the one it is about.

    Raises:
        AdvisorError: when there is none, or `model_file` has another SHA-256.
    """
    if folder is None:
        return None
    from advisor.advice import check_model_file, load_advice

    advice = load_advice(folder)
    if model_file is not None:
        check_model_file(advice, model_file)
    return advice


def recorded_model(before: Advice | None, earlier: Path | None) -> Source:
    """The model that an earlier advice records, which is said.

    Raises:
        AdvisorError: when there is no advice, or its model is gone or another.
    """
    from advisor.recorded import contradicts_itself
    from advisor.recorded import recorded_model as find

    if before is None:
        raise AdvisorError("There is no MODEL to recommend for.", "Name it, or --from the folder of earlier advice.")
    source = find(before, _folder(earlier))
    say(f"Note: model {source.place}, as the advice records.")
    return source.doubted("its command is not that of its request") if contradicts_itself(before) else source


def settings() -> Mapping[str, Any]:
    """Defaults that a file in this folder sets; they are said, with its path."""
    from advisor.settings import defaults

    found, path = defaults(Path())
    if found:
        shown = (f"{n} = {REQUIREMENTS[n].show(v) if n in REQUIREMENTS else v}" for n, v in found.items())
        say(f"Note: {path} sets {', '.join(shown)}; --no-config leaves it out.")
    return found


def settled(context: typer.Context, no_config: bool, *names: str) -> list[Any]:
    """Options as the command line has them, else as a settings file sets them, else their defaults."""
    said = {} if no_config else settings()
    return [said[name] if name in said and not _given(context, name) else context.params[name] for name in names]


def _folder(earlier: Path | None) -> Path:
    return Path() if earlier is None else earlier if earlier.is_dir() else earlier.parent


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
