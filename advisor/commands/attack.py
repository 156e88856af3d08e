"""`advisor attack`: try to get the private input, label or ids back from the activation at one cut."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.commands.support import options as given
from advisor.commands.support import previous_advice as earlier_advice
from advisor.commands.support.attack_output import show_all
from advisor.commands.support.exits import exit_codes, noticed, say
from advisor.commands.support.model_inputs import Wanted
from advisor.commands.support.near_names import check_given, check_model_is_there
from advisor.commands.support.numbered_plans import Number, plan_number
from advisor.commands.support.outputs import answer_only, screen
from advisor.commands.support.stage_progress import StageProgress
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.advice import Advice
    from advisor.cuts import Cut
    from advisor.defenses import Defense
    from advisor.estimators.attacks.support.metrics import AttackResult
    from advisor.graph import PartitionGraph
    from advisor.plans import Plan
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
    plan: Number = None,
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
        now = earlier_advice.typed(context)
        check_given((now.get("data"), now.get("aux")), arch)
        advice, source = _advice(model, model_file)
        whole = _plan(advice, cut, plan, defense)
        where = _where(cut) if whole is None else [whole.places[0]]
        if advice is None:
            check_model_is_there(model)
        from advisor.estimators.attacks import ATTACKS

        ATTACKS.find(name)  # what is unknown or absent is refused before anything slow
        import advisor
        from advisor.computing.chosen_device import chosen
        from advisor.defenses import parse_defense
        from advisor.request_parts import check_attack_size
        from advisor.support.checkpoint import forget

        chosen(compute)
        if attack_size is not None:
            check_attack_size(attack_size)
        protection = parse_defense(defense or "none") if whole is None or defense is not None else whole.defense
        wanted = _wanted(source, advice, Path(model), context, no_config)
        found: dict[Cut, AttackResult | AdvisorError] = {}
        with StageProgress() as progress, answer_only():
            fit = whole is not None and whole.fitted is not None
            if advice is not None and fit:
                inputs = wanted.unseen(progress, int(advice.provenance.get("seed", wanted.seed)))
            else:
                inputs = wanted.given(progress, lambda graph: [graph.cut(name) for name in where])
            graph, samples, own = inputs.graph, inputs.samples, inputs.aux
            places = [_place(graph, name) for name in where]
            if whole is not None and whole.fitted is not None:
                graph = whole.fitted.spliced_again(graph, whole.folder, whole.cut)
                places = [graph.payload]
            attacked = advisor.attack_cuts(
                graph, places, samples.x,
                own if own is None or isinstance(own, str) else own.x, name=name, defense=protection, budget=budget,
                seed=wanted.seed, y=samples.labels, aux_y=getattr(own, "labels", None), aux_samples=aux_samples,
                labels=labels, repeats=repeats, folder=resume,
                progress=lambda place, share: progress("attack", share, place.name), compute=compute,
                attack_size=attack_size, tail=whole.tail if whole is not None else None,
            )  # fmt: skip
            interrupted = False
            try:
                for place, result in attacked:
                    found[place] = result
                    if advice is not None and not isinstance(result, AdvisorError):
                        advice = _record(Path(model), result, place, protection, inputs.source, pictures)
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
    from advisor.advice import check_model_file, load_advice
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
        for keyword in ("data", "aux", "train_data"):
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


def _plan(advice: Advice | None, cuts: list[str] | None, number: int | None, defense: str | None) -> Plan | None:
    """The plan of an advice that is attacked as a whole; None where cuts are named instead.

    Raises:
        AdvisorError: when there is no such plan, or both a plan and a cut are named.
    """
    if number is not None and (advice is None or cuts):
        wrong = (
            "--plan numbers the plans of an advice" if advice is None else "--plan and --cut both say what to attack"
        )
        raise AdvisorError(f"{wrong}.", "Name an advice, or its folder." if advice is None else "Give one of them.")
    if advice is None:
        return None
    plan = advice.best_split if number is None else plan_number(advice, number)
    if number is None and not cuts and advice.verdict not in ("split", "none"):
        say(f"Note: the advice is {advice.verdict}; this is its best split.")
    if plan is None or (cuts and cuts not in ([plan.cut.name], [plan.places[0]])):
        return None
    if plan.fitted is not None and defense not in (None, str(plan.defense)):
        raise AdvisorError("A fitted plan is attacked with its own defense.", "Leave --defense out.")
    return plan


def _where(cuts: list[str] | None) -> list[str]:
    """Which cuts, by name or index.

    Raises:
        AdvisorError: when nothing says which cut.
    """
    if not cuts:
        raise AdvisorError("Which cut is to be attacked?", "Name it with --cut; `advisor profile` lists them.")
    return cuts


def _place(graph: PartitionGraph, wanted: str) -> Cut:
    """The cut of that name, else of that index; where both could be meant, that is said."""
    from advisor.cuts import also_an_index

    found = graph.cut(wanted)
    if other := also_an_index(graph.cuts, wanted, found):
        say(f"Note: {wanted} is taken for a name, of cut number {found.index}; cut number {wanted} is {other.name!r}.")
    return found


def _record(path: Path, found: AttackResult, cut: Cut, defense: Defense, source: str, pictures: bool) -> Advice:
    """The advice of that file, as it is now, with the evidence in it, and its report; both lie where it was read."""
    from advisor.advice import load_advice
    from advisor.files import turn
    from advisor.planning.verifying.pictures import evidence_of

    file = path / "advice.json" if path.is_dir() else path
    page = file.with_name("report.html") if file.name == "advice.json" else file.with_suffix(".html")
    shown = evidence_of(found, cut, defense, pictures)
    with turn(file.parent), noticed(file, page):  # another attack may be adding its evidence
        advice = load_advice(file)
        advice = dataclasses.replace(advice, evidence=(*advice.evidence, shown))
        advice.save_as(file, page)
    said = advice.provenance.get("data")
    if isinstance(said, dict) and said.get("fingerprint") not in (None, source):
        say("Note: these are not the samples that the advice was made from.")
    say(f"The evidence is in {file} and {page}. Digest of the advice: {advice.digest}.")
    if advice.holds_pictures:
        say("Note: both hold pictures of private inputs, and only you may read them.")
    return advice
