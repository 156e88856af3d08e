"""`advisor attack`: try to get the input back from what crosses one cut."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands import options as given
from advisor.commands.exits import exit_codes, say
from advisor.commands.outputs import answer_only, screen
from advisor.commands.prepared import Wanted
from advisor.errors import AdvisorError
from advisor.progress import StageProgress

if TYPE_CHECKING:
    from advisor.cuts import Cut
    from advisor.defenses import Defense
    from advisor.estimators.attacking import AttackResult

SCORES = ("nmse", "mse", "ssim", "psnr")


def attack(
    model: given.Model,
    cut: Annotated[str, typer.Option(help="Name or index of the cut, as `advisor profile` lists them.")],
    defense: Annotated[str, typer.Option(help="none, int8, or gaussian:sigma=0.5.")] = "none",
    name: Annotated[str, typer.Option(help="Which attack: ka, an inversion network.")] = "ka",
    budget: Annotated[str, typer.Option(help="quick or strong.")] = "quick",
    data: given.Data = None,
    aux: Annotated[
        str | None,
        typer.Option(help="What the attacker learns from; else most of --data.", rich_help_panel=given.WHAT),
    ] = None,
    input_shape: given.Shape = None,
    arch: given.Arch = None,
    trusted: given.Trust = False,
    normalize: given.Normalize = "auto",
    resize: given.Resize = None,
    max_tensors: given.MaxTensors = None,
    seed: given.Seed = 0,
    as_json: given.Json = False,
) -> None:
    """Reconstruct the inputs of MODEL from what crosses one cut, and say how well that went."""
    with exit_codes():
        import advisor

        protection = parse_defense(defense)
        wanted = Wanted(model, arch, trusted, input_shape, normalize, data, resize, seed, max_tensors)
        with StageProgress() as progress, answer_only():
            graph, samples = wanted.graph_and_samples(progress)
            place = graph.cut(int(cut) if cut.isdecimal() else cut)
            found = advisor.attack(
                graph, place, samples.x, _auxiliary(aux, wanted), name=name, defense=protection, budget=budget,
                seed=seed, progress=lambda share: progress("attack", share, place.name),
            )  # fmt: skip
        say(progress.summary())
        _show(found, place, protection, samples.description, as_json)


def parse_defense(text: str) -> Defense:
    """`int8`, or a name with its parameters: `gaussian:sigma=0.5`.

    Raises:
        AdvisorError: on an unknown name or parameter, a missing one, or no number.
    """
    from advisor.defenses import DEFENSES

    name, _, rest = text.partition(":")
    if name not in DEFENSES:
        raise AdvisorError(f"There is no defense {name!r}.", f"Known: {', '.join(DEFENSES)}.")
    kind = DEFENSES[name]
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    parameters = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key.strip() not in fields:
            raise AdvisorError(f"Defense {name} has no parameter {key!r}.", f"It has: {', '.join(fields) or 'none'}.")
        parameters[key.strip()] = _number(value, text)
    missing = [key for key, f in fields.items() if f.default is dataclasses.MISSING and key not in parameters]
    if missing:
        raise AdvisorError(f"Defense {name} needs {missing[0]}.", f"Write {name}:{missing[0]}=0.5.")
    return kind(**parameters)


def _number(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise AdvisorError(f"{value!r} in {text!r} is no number.", "Write gaussian:sigma=0.5.") from None


def _auxiliary(aux: str | None, wanted: Wanted) -> Any:
    from advisor.samples import load_samples

    return None if aux is None else load_samples(aux, resize=wanted.resize, seed=wanted.seed).x


def _show(found: AttackResult, cut: Cut, defense: Defense, described: str, as_json: bool) -> None:
    from pydantic import TypeAdapter

    from advisor.estimate import Estimate
    from advisor.reports.quantities import quantity, show_estimate

    scores = {name: getattr(found, name) for name in SCORES}
    if as_json:
        plain = TypeAdapter(dict[str, Estimate]).dump_python(scores, mode="json")
        row = {"cut": cut.name, "defense": str(defense), "samples": len(found.reconstructions), "data": described}
        sys.stdout.write(json.dumps(row | plain, indent=1) + "\n")
        return
    console, count = screen(), len(found.reconstructions)
    console.print(f"{count} inputs reconstructed from what crosses {cut.name}, defense: {defense}.", markup=False)
    for name, estimate in scores.items():
        line = f"  {quantity(name).label:<5} {show_estimate(estimate, name)}"
        console.print(f"{line}  {quantity(name).meaning or estimate.method}", markup=False)
    console.print(f"On {described}.", markup=False)
