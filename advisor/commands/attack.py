"""`advisor attack`: try to get the private input, label or ids back from the activation at one cut."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands import options as given
from advisor.commands import previous_advice as earlier_advice
from advisor.commands.attack_output import show_all
from advisor.commands.exits import exit_codes, say, written
from advisor.commands.model_inputs import Wanted
from advisor.commands.outputs import answer_only, screen
from advisor.commands.stage_progress import StageProgress
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.cuts import Cut
    from advisor.data.samples import Samples
    from advisor.defenses import Defense
    from advisor.estimators.attacks.support.metrics import AttackResult
    from advisor.graph import PartitionGraph
    from advisor.plans import Advice
    from advisor.recorded import Source

Few = Annotated[int | None, typer.Option(min=1, help="It has this many at most.", rich_help_panel=given.WHAT)]


def attack(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="A model, as for recommend; or an advice.json, or its folder.", show_default=False)
    ],
    cut: Annotated[
        list[str] | None,
        typer.Option(help="Name or index, as `advisor profile` lists them; may be repeated; of an advice: its plan's."),
    ] = None,
    defense: Annotated[
        str | None, typer.Option(help="none, int8, or gaussian:sigma=0.5; of an advice: its plan's.")
    ] = None,
    name: Annotated[str, typer.Option(help="As `advisor attacks` lists them, or package.module:Name.")] = "ka",
    budget: Annotated[str, typer.Option(help="quick or strong.")] = "quick",
    repeats: Annotated[int, typer.Option(min=1, help="Transmissions of each input that the attacker averages.")] = 1,
    data: given.Data = None,
    task: given.Task = "auto",
    scores: given.Scores = None,
    no_labels: given.NoLabels = False,
    aux: given.Aux = None,
    aux_samples: Few = None,
    labels: Annotated[
        int | None, typer.Option(min=1, help="Labels it has, for attacks on labels.", rich_help_panel=given.WHAT)
    ] = None,
    input_shape: given.Shape = None,
    arch: given.Arch = None,
    trusted: given.Trust = False,
    normalize: given.Normalize = "auto",
    resize: given.Resize = None,
    max_tensors: given.MaxTensors = None,
    model_file: Annotated[
        str | None, typer.Option("--model", help="The model of an advice, if it moved.", rich_help_panel=given.WHAT)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder that a killed attack resumes from.", rich_help_panel=given.SEARCH)
    ] = None,
    compute: given.Compute = "auto",
    attack_size: given.AttackSize = None,
    seed: given.Seed = 0,
    no_config: given.NoConfig = False,
    pictures: given.Pictures = False,
    as_json: given.Json = False,
) -> None:
    """Attack cuts of MODEL and say how well that went; of an advice, the evidence goes into its report.

    An advice's model and data are opened where it records them, if their bytes are still the same.
    """
    with exit_codes():
        import advisor
        from advisor.checkpoint import forget
        from advisor.computing.chosen_device import chosen
        from advisor.estimators.attacks import ATTACKS
        from advisor.request import check_attack_size

        ATTACKS.find(name)  # what is unknown or absent is refused before anything slow
        chosen(compute)
        if attack_size is not None:
            check_attack_size(attack_size)
        advice, source = _advice(model, model_file)
        where, defense = _where(advice, cut, defense)
        protection = _defense(advice, defense)
        wanted = _wanted(source, advice, Path(model), context, no_config)
        found: dict[Cut, AttackResult | AdvisorError] = {}
        with StageProgress() as progress, answer_only():
            inputs = wanted.given(progress, lambda graph: [graph.cut(name) for name in where])
            graph, samples, own = inputs.graph, inputs.samples, inputs.aux
            attacked = advisor.attack_cuts(
                graph, [_place(graph, name) for name in where], samples.x,
                own if own is None or isinstance(own, str) else own.x, name=name, defense=protection, budget=budget,
                seed=wanted.seed, y=samples.labels, aux_y=getattr(own, "labels", None), aux_samples=aux_samples,
                labels=labels, repeats=repeats, folder=resume,
                progress=lambda place, share: progress("attack", share, place.name), compute=compute,
                attack_size=attack_size,
            )  # fmt: skip
            interrupted = False
            try:
                for place, result in attacked:
                    found[place] = result
                    if advice is not None and not isinstance(result, AdvisorError):
                        advice = _record(Path(model), result, place, protection, samples, pictures)
                forget(resume)
            except KeyboardInterrupt:
                interrupted = True
        say(progress.summary())
        show_all(found, protection, samples.description, as_json)
        if interrupted:
            raise KeyboardInterrupt


def attacks(as_json: given.Json = False) -> None:
    """List the attacks that `advisor attack --name` knows, with what each attacker knows, has and may do."""
    with exit_codes():
        from advisor.estimators.attacks import ATTACKS

        if as_json:
            members = ATTACKS.working().values()
            rows = [{"name": member.name, "about": member.about} | asdict(member.threat) for member in members]
            sys.stdout.write(json.dumps(rows, indent=1) + "\n")
            return
        console = screen()
        for member in ATTACKS.working().values():
            console.print(f"{member.name}: {member.about}", markup=False)
            console.print(f"    after the {member.threat.recovers}; {member.threat}", markup=False)


def _advice(model: str, model_file: str | None) -> tuple[Advice | None, Source]:
    """The advice that was named, if one was, and the model to attack.

    Raises:
        AdvisorError: when the advice cannot be read, or its model is gone or another.
    """
    from advisor.plans import check_model_file, load_advice
    from advisor.recorded import Source, recorded_model

    path = Path(model)
    if not (path.suffix == ".json" or (path / "advice.json").exists()):
        return None, Source(model, "")
    advice = load_advice(path)
    if model_file is not None:
        if Path(model_file).exists():
            check_model_file(advice, model_file)
        return advice, Source(model_file, "")
    source = recorded_model(advice, path if path.is_dir() else path.parent)
    say(f"Note: model {source.place}, as the advice records.")
    return advice, source


def _wanted(
    source: Source, advice: Advice | None, path: Path, context: typer.Context, no_config: bool
) -> Wanted:  # fmt: skip
    """The model and data as they are named now, what is left open as in the advice, then as in a settings file."""
    from advisor.recorded import harmless

    fields = [field.name for field in dataclasses.fields(Wanted)]
    now = {name: value for name, value in earlier_advice.typed(context).items() if name in fields}
    now |= {"input_shape": context.params["input_shape"]} if "input_shape" in now else {}
    recorded: dict[str, Any] = {}
    if not no_config:
        recorded |= {name: value for name, value in earlier_advice.settings().items() if name in fields}
    if advice is not None:
        taken = harmless(advice.request)
        recorded |= {name: value for name, value in taken.options.items() if name in fields} | _advised(advice)
        for keyword in ("data", "aux"):
            if keyword not in now:
                folder = path if path.is_dir() else path.parent
                now[keyword] = earlier_advice.recorded_data(advice, folder, source, keyword)
    return Wanted(**recorded | now | {"model": source.place, "sha256": source.sha256})


def _advised(advice: Advice) -> dict[str, Any]:
    """As many tensors a cut as those of the advice have, so that its cuts are found again; its plan's inputs."""
    said: dict[str, Any] = {"max_tensors": max((len(cut.tensors) for cut in advice.profile.cuts[1:-1]), default=1)}
    if advice.best_split is not None and (inputs := advice.best_split.inputs) is not None:
        parts = ["/".join(map(repr, part)) for part in inputs.normalization or ()]
        said["normalize"] = f"mean={parts[0]},std={parts[1]}" if parts else "none"
        if len(inputs.tensors) == 1:
            said["input_shape"] = ",".join(map(str, inputs.tensors[0].shape))
    return said


def _where(advice: Advice | None, cuts: list[str] | None, defense: str | None) -> tuple[list[str], str | None]:
    """Which cuts, by name or index, and which defense, None for that of the advice's plan.

    Raises:
        AdvisorError: when nothing says which cut.
    """
    if advice is not None and advice.best_split is not None and cuts in (None, [], [advice.best_split.cut.name]):
        return [advice.best_split.cut.name], defense
    if not cuts:
        raise AdvisorError("Which cut is to be attacked?", "Name it with --cut; `advisor profile` lists them.")
    return cuts, defense or "none"


def _place(graph: PartitionGraph, wanted: str) -> Cut:
    """The cut of that name, else of that index; where both could be meant, that is said."""
    from advisor.cuts import also_an_index

    found = graph.cut(wanted)
    if other := also_an_index(graph.cuts, wanted, found):
        say(f"Note: {wanted} is taken for a name, of cut number {found.index}; cut number {wanted} is {other.name!r}.")
    return found


def _defense(advice: Advice | None, defense: str | None) -> Defense:
    if defense is None and advice is not None and advice.best_split is not None:
        chosen: Defense = advice.best_split.defense
        return chosen
    from advisor.defenses import parse_defense

    return parse_defense(defense or "none")


def _record(path: Path, found: AttackResult, cut: Cut, defense: Defense, samples: Samples, pictures: bool) -> Advice:
    """The advice of that file, as it is now, with the evidence in it, and its report; both lie where it was read."""
    from advisor.files import turn
    from advisor.planning.pictures import evidence_of
    from advisor.plans import load_advice

    file = path / "advice.json" if path.is_dir() else path
    page = file.with_name("report.html") if file.name == "advice.json" else file.with_suffix(".html")
    shown = evidence_of(found, cut, defense, pictures)
    with turn(file.parent):  # another attack may be adding its evidence
        advice = load_advice(file)
        advice = dataclasses.replace(advice, evidence=(*advice.evidence, shown))
        advice.save_as(file, page)
    said = advice.provenance.get("data")
    if isinstance(said, dict) and said.get("fingerprint") not in (None, samples.fingerprint):
        say("Note: these are not the samples that the advice was made from.")
    written(file, page)
    say(f"The evidence is in {file} and {page}. Digest of the advice: {advice.digest}.")
    if advice.holds_pictures:
        say("Note: both hold pictures of private inputs, and only you may read them.")
    return advice
