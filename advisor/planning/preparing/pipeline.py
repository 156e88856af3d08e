"""The stages before the search: load, trace, prepare, measure; each a function of the request and the stage before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advisor import profilers
from advisor.columns import Profile
from advisor.data.example import example_from, shapes_of
from advisor.data.image_folder import ImageFolder
from advisor.data.normalization import chosen_normalization
from advisor.data.samples import Samples
from advisor.errors import AdvisorError, UnsafeFileError
from advisor.estimators.study.leakage_study import LeakageStudy, study
from advisor.estimators.study.score import said_unknown
from advisor.graph import PartitionGraph
from advisor.loading import LoadedModel, load_model
from advisor.loading.pickles import Trust
from advisor.loading.shapes import example_of, infer_example
from advisor.planning.evaluating.cut_patterns import chosen_cuts
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.plan_accuracy import EVALUATION_SAMPLES
from advisor.planning.evaluating.u_shape import tail_cut
from advisor.planning.judging.bare_accuracy import said_of_the_model
from advisor.planning.preparing import reuse
from advisor.planning.preparing.contradictions import check_budgets
from advisor.planning.preparing.data_roles import converted, divided, made, sources
from advisor.planning.preparing.stored_study import stored_study
from advisor.planning.preparing.study_identity import joined
from advisor.planning.preparing.wanted_defenses import wanted_defenses
from advisor.planning.shared_study.fitted_store import store_of
from advisor.planning.shared_study.results import Results
from advisor.planning.shared_study.study_storage import attack_folder, open_storage
from advisor.planning.stages import Inputs, Measured, Prepared, Step, Traced, step
from advisor.planning.timing import machine_speed
from advisor.planning.timing.time_plan import UNBOUNDED, TimePlan, plan_time
from advisor.plans import Advice
from advisor.profilers.support import imported_profile as given_profiles
from advisor.progress import RunListener, about, of_stage
from advisor.recorded import Source, check_hash
from advisor.request import Request
from advisor.requirements import objective
from advisor.tracing import tracer
from advisor.tracing.refusals import refuse_detectors


def load(
    request: Request, progress: RunListener | None = None, *, example: Any = None, trust: Trust = False,
    recorded: Source | None = None, earlier: Advice | None = None,
) -> Inputs:  # fmt: skip
    """The data as they are, checked before anything slow, and the model, with an example to trace it with.

    Args:
        request: what is wanted.
        progress: told of the step.
        example, trust, earlier: what no file may say, so that the request has none of it: inputs to trace with, leave
            to run the model's code, advice to take measurements from.
        recorded: where the model's path was read from a file: the hash that its bytes must have.

    Raises:
        AdvisorError: when model or data cannot be used.
        InterruptedRunError: on Ctrl-C, as every stage before the search.
    """
    model, wanted = request.model, request.data
    with step("load", progress) as now:
        read = sources(wanted, request.search.seed)
        found = read["data"]
        now(0.5, "model")
        if isinstance(model.model, str | Path):
            loaded = _loaded(model.model, model.arch, trust, model.input_shape, found)
            _check_stated_shape(loaded, model.input_shape)
        else:
            loaded = LoadedModel(model.model, "module", None, "", _example(model.model, model.input_shape))
        needed = loaded.example_inputs is None or not isinstance(found, ImageFolder)
        if found is not None and needed and model.input_shape is None and example is None:
            loaded = _with_example_of(loaded, found, wanted.resize)
        if recorded is not None:
            check_hash(recorded, loaded.sha256)
    notes = (*loaded.notes, *(found.notes if found else ()))
    return Inputs(loaded=loaded, **read, example=example, earlier=earlier, notes=notes, seconds=now.seconds)


def _loaded(
    model: str | Path, arch: str | None, trust: Any, stated: tuple[int, ...] | None, found: Samples | ImageFolder | None
) -> LoadedModel:
    """The model file; a script, which takes no other shape once it is converted, in one that the data can have."""
    shapes = shapes_of(found) if stated is None and isinstance(found, Samples) else []
    try:
        loaded = load_model(model, arch=arch, trust=trust, input_shape=stated)
    except UnsafeFileError:
        raise  # in no shape it is safer, and nobody is asked twice
    except AdvisorError as error:
        loaded, refusal = None, error
    if loaded is not None and (loaded.kind != "torchscript" or loaded.input_shape in shapes or not shapes):
        return loaded
    for shape in shapes:
        try:
            return load_model(model, arch=arch, trust=trust, input_shape=shape)
        except AdvisorError:
            continue
    if loaded is None:
        raise refusal
    return loaded


def _with_example_of(loaded: LoadedModel, found: Samples | ImageFolder, resize: int | None) -> LoadedModel:
    """A module's example in the layout and dtype of the data, where its forward takes them."""
    if not isinstance(loaded.model, nn.Module) or isinstance(loaded.model, PartitionGraph):
        return loaded
    example = example_from(loaded.model, found, resize)
    if example is None:
        return loaded
    return replace(loaded, example_inputs=(example,) if isinstance(example, Tensor) else example)


def _example(model: Any, shape: tuple[int, ...] | None) -> tuple[Tensor] | None:
    if shape is None:
        return None
    return (example_of(model, shape) if isinstance(model, nn.Module) else torch.zeros(2, *shape),)


def _check_stated_shape(loaded: LoadedModel, stated: tuple[int, ...] | None) -> None:
    """An exported program keeps the shapes it was exported with, whatever the user states."""
    if stated is None or loaded.kind not in ("export", "torchscript") or loaded.example_inputs is None:
        return
    own = tuple(loaded.example_inputs[0].shape[1:])
    if own != stated:
        raise AdvisorError(
            f"The file takes inputs of {own}, not of {stated}.", "Leave --input-shape out, or export again."
        )


def trace(request: Request, inputs: Inputs, progress: RunListener | None = None) -> Traced:
    """The graph, normalisation inserted; the example comes from the user, the file, the data or the layers."""
    wanted, loaded = request.model, inputs.loaded
    cuts: dict[str, Any] = {"max_tensors": wanted.max_tensors, "granularity": wanted.granularity}
    notes: list[str] = []
    with step("trace", progress) as now:
        if isinstance(wanted.model, PartitionGraph):
            graph = tracer.trace(wanted.model, **cuts)
        else:
            if isinstance(loaded.model, nn.Module):
                refuse_detectors(loaded.model)
            normalization, sentence = chosen_normalization(wanted.normalize, loaded.normalization)
            notes.append(sentence)
            example = inputs.example if inputs.example is not None else loaded.example_inputs
            if example is None and isinstance(loaded.model, nn.Module):
                example, note = infer_example(loaded.model)
                notes.append(note)
            graph = tracer.trace(loaded.model, example, normalization=normalization, **cuts)
            notes += graph.notes
        chosen_cuts(graph, request.search.cuts)  # what names no cut is refused here
    return Traced(inputs=inputs, graph=graph, notes=tuple(notes), seconds=now.seconds)


def prepare(request: Request, traced: Traced, progress: RunListener | None = None) -> Prepared:
    """The samples by role, as the model takes them; synthetic ones where none are given.

    Raises:
        DataError: where they do not fit the model, or are too few to be divided.
    """
    with step("data", progress) as now:
        graph, samples, notes = _converted(request, traced, now)
        roles = divided(request, graph, samples, traced.inputs)
    return Prepared(
        traced=traced, graph=graph, samples=samples, roles=roles, notes=(*notes, *roles.notes), seconds=now.seconds
    )


def samples_of(
    request: Request, traced: Traced, progress: RunListener | None = None
) -> tuple[PartitionGraph, Samples, tuple[str, ...]]:
    """The samples of `--data` undivided, the graph that knows its task, and what was assumed."""
    with step("data", progress) as now:
        return _converted(request, traced, now)


def _converted(request: Request, traced: Traced, now: Step) -> tuple[PartitionGraph, Samples, tuple[str, ...]]:
    found, wanted, seed = traced.inputs.data, request.data, request.search.seed
    if found is not None:
        graph, samples = converted(found, traced.graph, wanted, seed)
        return graph, samples, samples.notes
    graph, samples = made(traced.graph, wanted, seed, about(now, "synthesis"))
    return graph, samples, (f"Leakage and accuracy were measured on {samples.description}.", *samples.notes)


def measure(
    request: Request, prepared: Prepared, progress: RunListener | None = None, started: float | None = None
) -> Measured:
    """What every cut costs and leaks, taken from earlier advice where that still applies; how good the model itself is.

    Args:
        request, prepared, progress: as for the other stages.
        started: `time.monotonic()` at the start of a run that keeps to its effort's time; None: as long as it takes.

    Raises:
        InterruptedRunError: on Ctrl-C; with the cost columns, once they are known.
    """
    target, seed = request.target, request.search.seed
    edge, wire = profilers.device(target.device), profilers.link(target.link)
    costed = reuse.Target(edge, wire, profilers.device(target.cloud))
    with step("cost", progress) as pricing:
        cost, notes = _cost(request, prepared, costed, pricing)
    check_budgets(request, cost, wire)
    before, said = reuse.still_applies(prepared, seed, taken=reuse.COST_TAKEN in notes)
    graph = prepared.graph
    limits = UNBOUNDED
    if started is not None:
        limits = _time_plan(request, prepared, started, before is not None)
    results = Results(open_storage(request.search.storage))
    name = joined(request, prepared, results) if results.shared else ""
    limits = limits.agreed(results, name) if results.shared else limits
    if started is not None:
        of_stage(progress, "plan")(1.0, limits.sentence(request.search.effort, len(graph.cuts)))
    with step("leakage", progress, cost) as studying:
        found, more = _leakage(request, prepared, cost, before, studying, limits, results)
        evaluator = PlanEvaluator(
            graph, cost.joined(found.profile), found, prepared.roles, edge, wire, seed, tail_cut(graph, target.tail),
            attack_folder(request.search.storage), chosen_cuts(graph, request.search.cuts), limits.rows,
            also_asked(request), results,
        )  # fmt: skip
        of_the_model = said_of_the_model(evaluator.undefended)
    kept = before is not None and request.output.pictures and reuse.LEAKAGE_TAKEN in more
    return Measured(
        prepared=prepared, cost=cost, evaluator=evaluator, before=before,
        gallery=before.gallery if kept and before else None,
        notes=(*notes, *said, *more, *of_the_model), time=limits, study=name,
        seconds={**pricing.seconds, **studying.seconds},
    )  # fmt: skip


def _time_plan(request: Request, prepared: Prepared, started: float, taken: bool) -> TimePlan:
    graph, roles = prepared.graph, prepared.roles
    private, own = graph.flat(roles["private"].x), len(graph.flat(roles["attacker"].x)[0])
    speed = machine_speed.measured(graph, private)
    rows = min(len(graph.flat(roles["validation"].x)[0]), EVALUATION_SAMPLES)
    fits = bool(wanted_defenses(request.search.defenses).methods)
    return plan_time(request, graph, private, own, rows, speed, started, taken, fits)


def also_asked(request: Request) -> tuple[str, ...]:
    """Leakage columns beside the score that a requirement or the objective rests on."""
    rows = [row for row, _ in request.requirements] + [objective(request.search.objective)]
    return tuple(dict.fromkeys(row.measurement for row in rows if row.measurement in ("label_leak", "mse_bound")))


def _cost(request: Request, prepared: Prepared, target: reuse.Target, now: Step) -> tuple[Profile, list[str]]:
    """The cost columns, and what was assumed; those of a given profile win."""
    given, graph, notes = request.target.profile, prepared.graph, list[str]()
    measured = Profile.load(given) if isinstance(given, str | Path) else given
    cost = reuse.cost(prepared, target) if measured is None else None
    if cost is not None:
        notes.append(reuse.COST_TAKEN)
    else:
        if measured is not None:
            given_profiles.check(measured.provenance, graph)
        cost = profilers.profile(graph, target.device, target.link, target.cloud, progress=about(now, "cost"))
    if measured is not None:
        cost = given_profiles.joined(cost, measured)
        names = ", ".join(given_profiles.taken(measured))
        notes.append(f"Cost columns were taken from the given profile: {names}.")
    rows = [cost.provenance.get(key, {}) for key in ("device", "link", "cloud")]
    notes += [f"{row['key']}: {row['stands_for']}." for row in rows if row.get("stands_for")]
    notes += cost.provenance.get("cost", {}).get("notes", [])
    types = sorted({spec.dtype for cut in graph.cuts[1:-1] for spec in cut.tensors})
    if types:
        kinds = " and ".join(types)
        notes.append(f"Messages are counted in {kinds}, header included; the table of cuts has the activation alone.")
    return cost, notes


def _leakage(
    request: Request, prepared: Prepared, cost: Profile, before: Advice | None, now: Step, limits: TimePlan,
    results: Results,
) -> tuple[LeakageStudy, list[str]]:  # fmt: skip
    """The leakage study, and what was assumed; taken from earlier advice where that has the same cuts."""
    graph, roles, search = prepared.graph, prepared.roles, request.search
    found = None if before is None else reuse.leakage(prepared, before, cost, search.thresholds, search.seed)
    notes = [] if found is None else [reuse.LEAKAGE_TAKEN]

    def compute() -> LeakageStudy:
        private, own = roles["private"], roles["attacker"]
        return study(
            graph, private.x, private.labels, own.x, own.labels, thresholds=search.thresholds, seed=search.seed,
            progress=now, allowance=limits.allowance,
        )  # fmt: skip

    if found is None:
        store = store_of(request) if results.shared and not request.output.pictures else None  # pictures leave nothing
        found = (
            compute()
            if store is None
            else stored_study(results, store, prepared, search.thresholds, search.seed, limits.allowance.cuts, compute)
        )
    if found.targets.note != "inputs as given":
        notes.append(f"Reconstruction: {found.targets.note}.")
    if unknown := said_unknown(found.profile, len(found.targets.train)):
        notes.append(unknown)
    return found, notes
