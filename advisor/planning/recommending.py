"""`advisor.recommend`: load, trace, sweep, profile, search, verify, advise."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from advisor import profilers
from advisor.checkpoint import forget
from advisor.columns import Profile
from advisor.data.samples import Samples
from advisor.defenses import defense_names
from advisor.errors import InterruptedRunError
from advisor.estimators.study.leakage_study import LeakageStudy
from advisor.estimators.study.zone import ZoneThresholds
from advisor.files import sha256
from advisor.graph import Granularity, PartitionGraph
from advisor.interrupts import held
from advisor.loading import LoadedModel
from advisor.planning.advice_builder import assemble, provenance_of
from advisor.planning.bare_accuracy import said_of_the_model
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.pipeline import (
    Progress,
    Run,
    fit_or_make_samples,
    load_inputs,
    measure_cost,
    measure_leakage,
    still_applies,
    trace_model,
    with_task,
)
from advisor.planning.search import Search
from advisor.planning.selection import LeakageLimits
from advisor.planning.study_storage import attack_folder, open_storage
from advisor.planning.u_shape import tail_cut
from advisor.planning.verification import verified_plans
from advisor.plans import Advice, load_advice
from advisor.preserve import left_as_found
from advisor.recorded import Source, check_hash
from advisor.request import Request
from advisor.requirements import Budgets, Requirement
from advisor.requirements import objective as objective_row


def recommend(
    model: nn.Module | ExportedProgram | PartitionGraph | str | Path,
    example_inputs: Any = None,
    device: str = profilers.DEFAULT_DEVICE,
    link: str = profilers.DEFAULT_LINK,
    cloud: str = profilers.DEFAULT_CLOUD,
    data: Any = None,
    *,
    max_latency: float | str | None = None,
    max_accuracy_drop: float | str | None = None,
    max_ssim: float | str | None = None,
    min_nmse: float | str | None = None,
    max_edge_memory: float | str | None = None,
    requirements: Mapping[str, float | str] | Iterable[tuple[str, float | str]] = (),
    defenses: str = "free",
    effort: str = "standard",
    trials: int | None = None,
    timeout: float | str | None = None,
    storage: str | None = None,
    verify: str = "quick",
    task: str = "auto",
    scores: str | int | None = None,
    no_labels: bool = False,
    seed: int = 0,
    objective: str = "latency",
    require_split: bool = False,
    pictures: bool = False,
    arch: str | None = None,
    trust: bool | Callable[[str], bool] = False,
    input_shape: tuple[int, ...] | None = None,
    normalize: str = "auto",
    resize: int | None = None,
    max_tensors: int | None = None,
    granularity: Granularity | None = None,
    tail: str | None = None,
    profile: Profile | str | Path | None = None,
    earlier: Advice | str | Path | None = None,
    thresholds: ZoneThresholds | None = None,
    command: str = "",
    progress: Progress | None = None,
    keep: Callable[[Advice], None] | None = None,
) -> Advice:
    """Recommend where to split a model and what to do to the tensor that is sent.

    Args:
        model: an nn.Module, a torch.export program, a traced graph, a model file, or `torchvision:name[@random]`.
        example_inputs: a tensor `[N, ...]`, or a tuple or dict of them; None where file, data or layers tell.
        device, link, cloud: keys of the catalog; `local` measures on this computer.
        data: `(x, y)` with images in [0, 1], a folder, an `.npz`, `.npy` or `.pt` file, "digits", or None to make some.
        max_latency: seconds, edge + link + cloud, for one sample.
        max_accuracy_drop: absolute; 0.02 is two percentage points.
        max_ssim: highest structural similarity a strong inversion attack may reach, 0 to 1.
        min_nmse: lowest normalised error it must be left with, 0 to 1.
        max_edge_memory: bytes. Each of these also as text: "50ms", "2%", "1GiB".
        requirements: the same by name, `{"max_latency": 0.05}`; rows that were added to the table have no keyword.
        defenses: a set ("free", "none") or names separated by commas.
        effort: "quick", "standard" or "thorough": 12, 40 or 120 trials, unless `trials` says how many.
        trials: defended plans to price; undefended ones are all priced.
        timeout: seconds for the search.
        storage: Optuna storage URL; a killed search resumes from it, and where it is an SQLite file, killed attacks
            from a folder beside it.
        verify: "none", "quick" or "strong": the attack that is run on the plans that are shown.
        task: "auto", "classes", "multilabel", "regression", "dense" or "ranking": how the output is judged.
        scores: name or number of the output that is judged, where the model has several; None chooses and says why.
        no_labels: leave labels of the data out.
        seed: same seed, same answer on the same machine.
        pictures: keep private inputs, and what attacks made of them, as pictures in the advice and its report.
        objective: what is to be best among the plans that meet everything: "latency", "nmse", "edge_memory", …
        require_split: never answer all-edge or all-cloud.
        arch: for a state dict, `package.module:factory`, with literal arguments in parentheses where it takes any.
        trust: run code from the model file; or a question to the user.
        input_shape: one sample's shape, when nothing tells.
        normalize: "auto", "none", "imagenet" or "mean=…,std=…".
        resize: pixels to which images are resized.
        max_tensors, granularity: which cuts are looked at, as in `advisor.trace`.
        profile: cost columns measured elsewhere (`advisor profile`), instead of `device`.
        tail: name of a cut after which the edge takes over again, so that the cloud sees no output (U-shaped plans).
        earlier: advice, or its folder, whose measurements are taken where they still apply.
        thresholds: what counts as private enough where no leakage budget is given.
        command: recorded as the command that reproduces the answer.
        progress: called with stage, share and what is being worked on.
        keep: called with the advice as soon as there is one, while Ctrl-C waits: it is saved here or may be lost.

    Raises:
        AdvisorError: bad input, in one line with the next step.
        InterruptedRunError: on Ctrl-C before there was anything to recommend. During the search and
            afterwards Ctrl-C ends the run early: the advice says so in `provenance["interrupted"]`.
    """
    request = Request.of(
        model=model, arch=arch, input_shape=input_shape, normalize=normalize, max_tensors=max_tensors,
        granularity=granularity, data=data, resize=resize, task=task, scores=scores, no_labels=no_labels,
        device=device, link=link, cloud=cloud, profile=profile,
        tail=tail, requirements=requirements, max_latency=max_latency, max_accuracy_drop=max_accuracy_drop,
        max_ssim=max_ssim, min_nmse=min_nmse, max_edge_memory=max_edge_memory, defenses=defenses, effort=effort,
        trials=trials, timeout=timeout, storage=storage, verify=verify, seed=seed, thresholds=thresholds,
        objective=objective, require_split=require_split, pictures=pictures,
    )  # fmt: skip
    return advise(request, example_inputs, trust=trust, earlier=earlier, command=command, progress=progress, keep=keep)


def advise(
    request: Request,
    example_inputs: Any = None,
    *,
    trust: bool | Callable[[str], bool] = False,
    earlier: Advice | str | Path | None = None,
    recorded: Source | None = None,
    command: str = "",
    progress: Progress | None = None,
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
    started, run = time.perf_counter(), Run(progress, request.output.pictures)
    budgets, target, search = request.requirements, request.target, request.search
    read, seed, thresholds = request.model, request.search.seed, request.search.thresholds
    names = defense_names(search.defenses)
    before = load_advice(earlier) if isinstance(earlier, str | Path) else earlier
    plans, interrupted = None, ""
    try:
        kept = open_storage(search.storage)  # before anything slow
        with left_as_found(read.model if isinstance(read.model, nn.Module) else None):
            edge, wire = profilers.device(target.device), profilers.link(target.link)
            server = profilers.device(target.cloud)
            loaded, given = load_inputs(
                run, read.model, example_inputs, request.data.data, read.arch, trust, read.input_shape,
                request.data.resize, seed, not request.data.no_labels,
            )  # fmt: skip
            if recorded is not None:
                check_hash(recorded, loaded.sha256)
            graph = trace_model(
                run, loaded, read.model, example_inputs, read.normalize, read.max_tensors, read.granularity
            )
            samples = fit_or_make_samples(run, graph, given, request.data.resize, seed)
            graph, samples = with_task(run, graph, samples, request.data.task, request.data.scores, made=given is None)
            run.cost = cost = measure_cost(run, graph, edge, wire, server, target.profile)
            before = still_applies(run, before, loaded, graph, samples, seed)
            found = measure_leakage(run, graph, samples, thresholds, seed, before)
            evaluator = PlanEvaluator(
                graph, cost.joined(found.profile), found, graph.flat(samples.x), samples.y, edge, wire, seed,
                tail_cut(graph, target.tail), attack_folder(search.storage),
            )  # fmt: skip
            run.assumptions += said_of_the_model(evaluator.undefended)
            limits = leakage_limits(budgets, found, thresholds or ZoneThresholds(), objective_row(search.objective))
            identity = _identity(loaded, samples, evaluator, budgets, names, target.device, target.link, target.cloud)
            trials = Search(evaluator, budgets, limits, names, search.count, search.timeout, kept, identity, seed)
            with run.timed("search") as tell:
                result = trials.run(tell)
            interrupted = "search" if result.interrupted else ""
            plans = list(result.plans)
            if not interrupted:
                plans, interrupted = verified_plans(run, evaluator, plans, budgets, limits, search.verify)
    except KeyboardInterrupt:
        if plans is None:
            raise InterruptedRunError(run.stage, run.cost) from None
        interrupted = interrupted or run.stage
    with held() as waiting:  # the answer is there: Ctrl-C waits until it is kept
        said = command or request.command(trust is True)
        provenance = provenance_of(run, loaded, samples, graph, evaluator, seed, said)
        provenance["data"]["sha256"] = file_hash(request.data.data)
        provenance |= {"wall_time_s": time.perf_counter() - started}
        if interrupted:
            provenance["interrupted"] = interrupted
        advice = assemble(run, evaluator, tuple(plans), request, limits, loaded, provenance)
        if waiting.forget() and not interrupted:
            advice = dataclasses.replace(advice, provenance={**advice.provenance, "interrupted": "assembly"})
        if keep is not None:
            keep(advice)
        if not advice.provenance.get("interrupted"):
            forget(attack_folder(search.storage))
    return advice


def file_hash(data: Any) -> str | None:
    """SHA-256 of a data file; None for a folder, a built-in name, or what is in memory."""
    return sha256(data) if isinstance(data, str | Path) and Path(data).is_file() else None


def leakage_limits(
    budgets: Budgets, found: LeakageStudy, thresholds: ZoneThresholds, best_in: Requirement
) -> LeakageLimits:
    """The user's leakage budget, else the zone's thresholds; SSIM has no say where inputs are no images."""
    if budgets.has_leakage:
        return LeakageLimits(budgets.min_nmse, budgets.max_ssim, asked=True, best_in=best_in)
    baseline = found.baseline_ssim
    ssim = None if math.isnan(baseline) else thresholds.ssim_limit(baseline)
    return LeakageLimits(thresholds.min_nmse, ssim, asked=False, best_in=best_in)


def _identity(
    loaded: LoadedModel,
    samples: Samples,
    evaluator: PlanEvaluator,
    budgets: Budgets,
    names: tuple[str, ...],
    *setting: str,
) -> dict[str, Any]:
    """What a stored search is about; anything else starts a new one."""
    weights = loaded.sha256 or [float(p.double().sum()) for p in evaluator.graph.module.state_dict().values()]
    return {
        "model": weights,
        "cuts": [cut.name for cut in evaluator.graph.cuts],
        "data": samples.fingerprint,
        "budgets": budgets.to_json(),
        "defenses": names,
        "setting": setting,
        "tail": None if evaluator.tail is None else evaluator.tail.name,
        "seed": evaluator.seed,
    }
