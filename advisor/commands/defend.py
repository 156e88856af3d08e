"""`advisor defend`: fit one defense at one cut to its end, and verify the plan anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands.recommend import answered
from advisor.commands.support import options as given
from advisor.commands.support import previous_advice as earlier_advice
from advisor.commands.support.exits import exit_codes, say
from advisor.commands.support.near_names import check_given, check_model_is_there
from advisor.commands.support.requirement_options import TakesRequirements
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.advice import Advice
    from advisor.plans import Plan

LONG = "thorough"
"""Effort of a fit that was asked for by itself."""


@TakesRequirements
def defend(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="A model, as for recommend; or an advice.json, or its folder.", show_default=False)
    ],
    cut: Annotated[
        str | None, typer.Option(help="Name or index, as `advisor profile` lists them; of an advice: its plan's.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="A method of `advisor defenses`; of an advice: its plan's.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Its settings: width=8,stride=2,sigma=0.2..1,epochs=20.")] = None,
    device: given.Device = "jetson",
    link: given.Link = "wifi",
    cloud: given.Cloud = "t4",
    data: given.Data = None,
    train_data: given.TrainData = None,
    aux: given.Aux = None,
    task: given.Task = "auto",
    scores: given.Scores = None,
    no_labels: given.NoLabels = False,
    input_shape: given.Shape = None,
    arch: given.Arch = None,
    trusted: given.Trust = False,
    normalize: given.Normalize = "auto",
    resize: given.Resize = None,
    max_tensors: given.MaxTensors = None,
    tail: given.Tail = None,
    timeout: Annotated[str | None, typer.Option(help="End the fit after: 30min.", rich_help_panel=given.SEARCH)] = None,
    verify: Annotated[
        str,
        typer.Option(
            help="Attack the plan: none, quick or strong; a fit against attackers faces the strong one in any case.",
            rich_help_panel=given.SEARCH,
        ),
    ] = "strong",
    compute: given.Compute = "auto",
    model_file: Annotated[
        str | None, typer.Option("--model", help="The model of an advice, if it moved.", rich_help_panel=given.WHAT)
    ] = None,
    seed: given.Seed = 0,
    out: given.Out = Path("defended"),
    as_json: given.Json = False,
    **asked: str | None,
) -> None:
    """Fit a defense that learns what to send, longer than `recommend` does, and attack what then leaves the edge.

    The answer is an advice of its own in --out, with the fitted weights beside it.
    """
    with exit_codes():
        wanted, before = _asked(context, model, model_file)
        raise typer.Exit(answered(wanted, before, trusted, out, as_json))


def _asked(context: typer.Context, model: str, model_file: str | None) -> tuple[earlier_advice.Asked, Advice | None]:
    """The request: one cut, one method, no baselines; what is left open as in the advice.

    Raises:
        AdvisorError: when nothing says which cut or method, or the name is of none that is fitted.
    """
    now = earlier_advice.typed(context)
    check_given([now.get(name) for name in ("data", "train_data", "aux")], now.get("arch"))
    from advisor.planning.preparing.wanted_defenses import one_method
    from advisor.recorded import Source, harmless
    from advisor.request import FIELDS, Request
    from advisor.request_parts import SOURCES
    from advisor.requirements import REQUIREMENTS

    folder = Path(model)
    if not (folder.suffix == ".json" or (folder / "advice.json").exists()):
        check_model_is_there(model)
        before, source, options = None, None, {}
    else:
        before = earlier_advice.load(folder, model_file)
        assert before is not None, "a folder was named"
        taken = harmless(before.request)
        taken.require(now | {"defenses": now.get("method"), "requirement": None})
        options = dict(taken.options)
        source = Source(model_file, "") if model_file else earlier_advice.recorded_model(before, folder)
        for keyword in SOURCES:
            if keyword not in now:
                options[keyword] = earlier_advice.recorded_data(before, _home(folder), source, keyword)
    plan = None if before is None else before.best_split
    chosen = one_method(now.get("method") or _method_of(plan))
    from advisor.planning.fits.fit_recipes import check_recipe

    check_recipe((chosen,), now.get("recipe"))
    known = {*(key for keys in FIELDS.values() for key in keys), *REQUIREMENTS} - {"model", "cuts", "defenses"}
    options |= {name: value for name, value in now.items() if name in known}
    options |= {
        "cuts": now.get("cut") or _cut_of(plan), "defenses": chosen, "require_split": True, "effort": LONG,
        "out": context.params["out"], "verify": context.params["verify"], "recipe": _recipe(plan, chosen, now),
    }  # fmt: skip
    place = model if source is None else source.place
    return earlier_advice.Asked(Request.of(model=place, **options), source), before


def _home(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _method_of(plan: Plan | None) -> str:
    if plan is None or plan.fitted is None:
        raise AdvisorError("Which method is to be fitted?", "Name it with --method; `advisor defenses` lists them.")
    say(f"Note: method {plan.fitted.method}, as the advice chose.")
    return plan.fitted.method


def _cut_of(plan: Plan | None) -> str:
    if plan is None:
        raise AdvisorError("At which cut is it to be fitted?", "Name it with --cut; `advisor profile` lists them.")
    say(f"Note: cut {plan.places[0]}, as the advice chose.")
    return plan.places[0]


def _recipe(plan: Plan | None, method: str, now: dict[str, Any]) -> str | None:
    """What was typed; else, of the plan's own method, its weight, and width and stride: the payload stays the same."""
    typed = now.get("recipe")
    if typed is not None or plan is None or plan.fitted is None or plan.fitted.method != method:
        return typed
    kept = {name: plan.fitted.recipe[name] for name in ("width", "stride", "weight") if name in plan.fitted.recipe}
    return ",".join(f"{name}={value}" for name, value in kept.items()) or None
