"""`advisor.recommend`: load, trace, sweep, profile, search, verify, advise."""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from advisor import profilers
from advisor.choosing import LeakageLimits, choose, nearest, pareto, reasons, with_excess
from advisor.columns import Profile
from advisor.defenses import GaussianNoise, NoDefense, defense_names
from advisor.errors import AdvisorError, InterruptedRunError
from advisor.estimators.study import LeakageStudy, study
from advisor.estimators.zone import ZoneThresholds
from advisor.graph import PartitionGraph
from advisor.loading import LoadedModel, load_model
from advisor.normalization import chosen_normalization
from advisor.pictures import gallery
from advisor.plans import Advice, Budgets, Plan
from advisor.preserve import left_as_found
from advisor.pricing import Pricer
from advisor.samples import Samples, check_against, load_samples
from advisor.studies import Search, SearchResult
from advisor.sweep import panel_size
from advisor.synthesis import synthesise
from advisor.tracing import trace

Progress = Callable[[str, float, str], None]
"""Called with the stage, the fraction of it that is done, and what is being worked on."""

SYNTHETIC_SMALL, SYNTHETIC_LARGE, LARGE_SIDE = 256, 64, 64
VERIFY_ATTEMPTS = 5
ALSO_VERIFIED = 2
MORE_NOISE = 1.35
RANDOM_WEIGHTS = "The weights are random: leakage and accuracy mean nothing here, only cost does."


@dataclass
class _Run:
    """One recommendation under way: what was assumed, how long each stage took, where it is."""

    progress: Progress | None
    assumptions: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    stage: str = "load"
    cost: Profile | None = None

    @contextmanager
    def timed(self, stage: str) -> Iterator[Callable[[float, str], None]]:
        """Time a stage; yields its progress function."""
        self.stage, started = stage, time.perf_counter()
        self.tell(0.0, "")
        try:
            yield self.tell
            self.tell(1.0, "")
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - started

    def tell(self, share: float, what: str) -> None:
        """Report progress of the current stage."""
        if self.progress:
            self.progress(self.stage, share, what)


def recommend(
    model: nn.Module | ExportedProgram | PartitionGraph | str | Path,
    example_inputs: Any = None,
    device: str = profilers.DEFAULT_DEVICE,
    link: str = profilers.DEFAULT_LINK,
    cloud: str = profilers.DEFAULT_CLOUD,
    data: Any = None,
    *,
    max_latency: float | None = None,
    max_accuracy_drop: float | None = None,
    max_ssim: float | None = None,
    min_nmse: float | None = None,
    max_edge_memory: float | None = None,
    defenses: str = "free",
    trials: int = 40,
    timeout: float | None = None,
    storage: str | None = None,
    verify: str = "quick",
    seed: int = 0,
    arch: str | None = None,
    trust: bool | Callable[[str], bool] = False,
    input_shape: tuple[int, ...] | None = None,
    normalize: str = "auto",
    resize: int | None = None,
    profile: Profile | str | Path | None = None,
    thresholds: ZoneThresholds | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Advice:
    """Recommend where to split a model and what to do to the tensor that is sent.

    Args:
        model: an nn.Module, a torch.export program, a traced graph, a model file, or `torchvision:name[@random]`.
        example_inputs: a tensor `[N, ...]`, or a tuple or dict of them; None where file, data or layers tell.
        device, link, cloud: keys of the catalog; `local` measures on this computer.
        data: `(x, y)` with images in [0, 1], a folder, an `.npz`/`.npy`/`.pt` file or "digits"; None synthesises samples.
        max_latency: seconds, edge + link + cloud, for one sample.
        max_accuracy_drop: absolute; 0.02 is two percentage points.
        max_ssim: highest structural similarity a strong inversion attack may reach, 0 to 1.
        min_nmse: lowest normalised error it must be left with, 0 to 1.
        max_edge_memory: bytes.
        defenses: a set ("free", "none") or names separated by commas.
        trials: defended plans to price; undefended ones are all priced.
        timeout: seconds for the search.
        storage: Optuna storage URL; a killed search resumes from it.
        verify: "none", "quick" or "strong": the attack that is run on the plans that are shown.
        seed: same seed, same answer on the same machine.
        arch: for a state dict, `package.module:factory`.
        trust: run code from the model file; or a question to the user.
        input_shape: one sample's shape, when nothing tells.
        normalize: "auto", "none", "imagenet" or "mean=…,std=…".
        resize: pixels to which images are resized.
        profile: cost columns measured elsewhere (`advisor profile`), instead of `device`.
        thresholds: what counts as private enough where no leakage budget is given.
        command: recorded as the command that reproduces the answer.
        progress: called with stage, share and what is being worked on.

    Raises:
        AdvisorError: bad input, in one line with the next step.
        InterruptedRunError: on Ctrl-C before there was anything to recommend. During the search and the verification
            Ctrl-C ends the run early: the advice says so in `provenance["interrupted"]`.
    """
    started, run = time.perf_counter(), _Run(progress)
    if verify not in ("none", "quick", "strong"):
        raise AdvisorError(f"There is no verification {verify!r}.", "Use none, quick or strong.")
    budgets = Budgets(max_latency, max_accuracy_drop, max_ssim, min_nmse, max_edge_memory)
    names = defense_names(defenses)
    try:
        with left_as_found(model if isinstance(model, nn.Module) else None):
            edge, wire, server = (profilers.device(device), profilers.link(link), profilers.device(cloud))
            loaded, samples = _load(run, model, example_inputs, data, arch, trust, input_shape, resize, seed)
            graph = _trace(run, loaded, model, example_inputs, samples, normalize)
            samples = _samples(run, graph, samples, seed)
            run.cost = cost = _cost(run, graph, edge, wire, server, profile)
            found = _leakage(run, graph, samples, thresholds, seed)
            pricer = Pricer(
                graph, cost.joined(found.profile), found, graph.flat(samples.x), samples.y, edge, wire, seed
            )  # fmt: skip
            limits = _limits(budgets, found, thresholds or ZoneThresholds())
            identity = _identity(loaded, samples, pricer, budgets, names, device, link, cloud)
            search = Search(pricer, budgets, limits, names, trials, timeout, storage, identity, seed)
            with run.timed("search") as tell:
                result = search.run(tell)
            interrupted = "search" if result.interrupted else ""
            plans, best = list(result.plans), choose(result.plans, limits)
            if not interrupted:
                plans, best, interrupted = _verified(run, pricer, plans, budgets, limits, verify)
    except KeyboardInterrupt:
        raise InterruptedRunError(run.stage, run.cost) from None
    provenance = _provenance(run, loaded, samples, graph, pricer, seed, command)
    provenance |= {"wall_time_s": time.perf_counter() - started}
    if interrupted:
        provenance["interrupted"] = interrupted
    return _advice(run, pricer, SearchResult(tuple(plans)), best, budgets, limits, loaded, provenance)


# ---- stages ----------------------------------------------------------------------------------------------------------


def _load(
    run: _Run, model: Any, example_inputs: Any, data: Any, arch: str | None, trust: Any,
    input_shape: tuple[int, ...] | None, resize: int | None, seed: int,
) -> tuple[LoadedModel, Samples | None]:  # fmt: skip
    """The model and, where given, the samples: either may tell the shape the other needs."""
    with run.timed("load") as tell:
        samples = None
        is_folder = isinstance(data, str | Path) and Path(data).is_dir()
        if data is not None and not is_folder:
            samples = load_samples(data, resize=resize, seed=seed)
            if isinstance(samples.x, Tensor) and input_shape is None and example_inputs is None:
                input_shape = tuple(samples.x.shape[1:])
        tell(0.5, "model")
        if isinstance(model, str | Path):
            loaded = load_model(model, arch=arch, trust=trust, input_shape=input_shape)
        else:
            loaded = LoadedModel(
                model, "module", None, "", None if input_shape is None else (torch.zeros(2, *input_shape),)
            )  # type: ignore[arg-type]
        if is_folder:
            samples = load_samples(data, resize=resize, seed=seed, shape=loaded.input_shape or input_shape)
        run.assumptions += [*loaded.notes, *(samples.notes if samples else ())]
    return loaded, samples


def _trace(
    run: _Run, loaded: LoadedModel, given: Any, example_inputs: Any, samples: Samples | None, normalize: str
) -> PartitionGraph:
    with run.timed("trace"):
        if isinstance(given, PartitionGraph):
            return given
        normalization, sentence = chosen_normalization(normalize, loaded.normalization)
        run.assumptions.append(sentence)
        example = example_inputs if example_inputs is not None else loaded.example_inputs
        if example is None and samples is not None and not isinstance(loaded.model, ExportedProgram):
            example = samples.take(torch.arange(2)).x
        if example is None and isinstance(loaded.model, nn.Module):
            from advisor.loading.shapes import infer_example

            example, note = infer_example(loaded.model)
            run.assumptions.append(note)
        graph = trace(loaded.model, example, normalization=normalization)
        run.assumptions += graph.notes
    return graph


def _samples(run: _Run, graph: PartitionGraph, samples: Samples | None, seed: int) -> Samples:
    """The given samples, checked against the model; else synthetic ones."""
    with run.timed("data") as tell:
        if samples is not None:
            shape = graph.inputs.tensors[0].shape if len(graph.inputs.tensors) == 1 else None
            output = graph.cuts[-1].tensors
            classes = output[0].shape[0] if len(output) == 1 and len(output[0].shape) == 1 else None
            checked = check_against(samples, classes, shape)
            run.assumptions += [note for note in checked.notes if note not in run.assumptions]
            return checked
        sides = max(max(spec.shape[-2:], default=1) for spec in graph.inputs.tensors)
        wanted = SYNTHETIC_SMALL if sides <= LARGE_SIDE else SYNTHETIC_LARGE
        made = synthesise(graph, panel_size(graph, wanted), seed, lambda done, of: tell(done / of, "synthesis"))
        run.assumptions.append(f"Leakage and accuracy were measured on {made.description}.")
    return made


def _cost(run: _Run, graph: PartitionGraph, edge: Any, wire: Any, server: Any, given: Any) -> Profile:
    with run.timed("cost") as tell:
        told: Callable[[float], None] = lambda share: tell(share, "cost")  # noqa: E731
        cost = profilers.profile(graph, edge, wire, server, progress=told)
        if given is not None:
            measured = given if isinstance(given, Profile) else Profile.load(given)
            cost = cost.joined(measured)
            run.assumptions.append("Cost columns were taken from the given profile.")
        run.assumptions += cost.provenance.get("cost", {}).get("notes", [])
    return cost


def _leakage(
    run: _Run, graph: PartitionGraph, samples: Samples, thresholds: ZoneThresholds | None, seed: int
) -> LeakageStudy:
    with run.timed("leakage") as tell:
        found = study(graph, samples.x, samples.y, thresholds=thresholds, seed=seed, progress=tell)
        if found.targets.note != "inputs as given":
            run.assumptions.append(f"Reconstruction: {found.targets.note}.")
    return found


def _limits(budgets: Budgets, found: LeakageStudy, thresholds: ZoneThresholds) -> LeakageLimits:
    """The user's leakage budget, else the zone's thresholds; SSIM has no say where inputs are no images."""
    if budgets.has_leakage:
        return LeakageLimits(budgets.min_nmse, budgets.max_ssim, asked=True)
    baseline = found.baseline_ssim
    ssim = None if math.isnan(baseline) else thresholds.ssim_limit(baseline)
    return LeakageLimits(thresholds.min_nmse, ssim, asked=False)


def _verified(
    run: _Run, pricer: Pricer, plans: list[Plan], budgets: Budgets, limits: LeakageLimits, budget: str
) -> tuple[list[Plan], Plan | None, str]:
    """Attack the plan that would be chosen; where the attack finds more than was predicted, choose again."""
    best = choose(plans, limits)
    if budget == "none" or best is None or not all(t.dtype.is_floating_point for t in pricer.inputs):
        return plans, best, ""
    try:
        with run.timed("verify") as tell:
            for attempt in range(VERIFY_ATTEMPTS):
                if best is None or best.verified:
                    break
                tell(attempt / VERIFY_ATTEMPTS, str(best))
                proven = _attacked(pricer, best, budgets, limits, budget)
                plans[plans.index(best)] = proven
                if limits.shortfall(proven) and isinstance(proven.defense, GaussianNoise):
                    plans.append(_noisier(pricer, proven, budgets, limits))
                best = choose(plans, limits)
            for plan in _also_shown(plans, best):
                tell(1.0, str(plan))
                plans[plans.index(plan)] = _attacked(pricer, plan, budgets, limits, budget)
    except KeyboardInterrupt:
        return plans, choose(plans, limits), "verify"
    return plans, choose(plans, limits), ""


def _attacked(pricer: Pricer, plan: Plan, budgets: Budgets, limits: LeakageLimits, budget: str) -> Plan:
    found = pricer.attack(plan, budget)
    evidence = {"nmse": found.nmse, "mse": found.mse, "ssim": found.ssim, "psnr": found.psnr}
    return with_excess(dataclasses.replace(plan, verified=evidence), budgets, limits)


def _noisier(pricer: Pricer, plan: Plan, budgets: Budgets, limits: LeakageLimits) -> Plan:
    noise = GaussianNoise(plan.defense.sigma * MORE_NOISE, plan.defense.dfil / MORE_NOISE**2)
    return with_excess(pricer.price(plan.cut, noise), budgets, limits)


def _also_shown(plans: list[Plan], best: Plan | None) -> list[Plan]:
    """Defended plans of the Pareto front that were not attacked yet, best hidden first."""
    front = [p for p in pareto([p for p in plans if p.feasible]) if not p.verified and p is not best]
    defended = [p for p in front if not isinstance(p.defense, NoDefense)]
    return sorted(defended, key=lambda p: -p.predicted["score"].value)[:ALSO_VERIFIED]


# ---- the answer ------------------------------------------------------------------------------------------------------


def _advice(
    run: _Run, pricer: Pricer, result: SearchResult, best: Plan | None, budgets: Budgets, limits: LeakageLimits,
    loaded: LoadedModel, provenance: dict[str, Any],
) -> Advice:  # fmt: skip
    plans = result.plans
    baselines = tuple(with_excess(plan, budgets, limits) for plan in pricer.baselines())
    feasible = [plan for plan in plans if plan.feasible]
    close = () if feasible else nearest(plans, budgets)
    shown = best if best is not None else next(iter(close), None)
    found = pricer.study
    return Advice(
        headline=_headline(best, shown, baselines, limits, loaded, provenance),
        best=shown,
        feasible=best is not None,
        reasons=reasons(best, plans, limits),
        zone=found.zone.cuts,
        pareto=pareto(feasible or plans),
        nearest=close,
        baselines=baselines,
        profile=pricer.profile,
        budgets=budgets,
        unmeasured=_unmeasured(pricer.profile),
        assumptions=tuple(dict.fromkeys(run.assumptions)),
        gallery=gallery(found, "quick"),
        provenance=provenance | {"zone": _zone(found)},
    )


def _headline(
    best: Plan | None, shown: Plan | None, baselines: tuple[Plan, ...], limits: LeakageLimits, loaded: LoadedModel,
    provenance: dict[str, Any],
) -> str:  # fmt: skip
    parts = [RANDOM_WEIGHTS] if loaded.weights == "random" else []
    if provenance.get("interrupted"):
        parts.append(f"Interrupted during {provenance['interrupted']}: this is the best so far.")
    all_edge = baselines[0]
    latency = all_edge.predicted["latency"].value
    if all_edge.feasible and (best is None or latency <= best.predicted["latency"].value):
        parts.append("Do not split: running everything on the edge beats every split, is within the budgets and sends nothing.")
    if best is None:
        parts.append("No plan meets the budgets." if shown else "This model has no cut between input and output.")
    elif limits.shortfall(best):
        parts.append(f"Best inside the budgets, but not private by the zone's thresholds: cut at {best.cut.name} with {best.defense}.")
    else:
        parts.append(f"Cut at {best.cut.name}, defense: {best.defense}.")
    return " ".join(parts)


def _unmeasured(profile: Profile) -> tuple[str, ...]:
    """What could not be measured, and why, one sentence a column and reason."""
    said = []
    for column in profile:
        if column.name in ("rc2_drop",):  # defined between cuts that close a block only
            continue
        groups: dict[str, list[str]] = {}
        for cut, value, why in zip(profile.cuts, column.values, column.why, strict=True):
            if np.isnan(value):
                groups.setdefault(why, []).append(cut.name)
        for why, cuts in groups.items():
            where = "any cut" if len(cuts) == len(profile.cuts) else ", ".join(cuts[:6]) + (" …" if len(cuts) > 6 else "")
            said.append(f"{column.name} at {where}: {why}")
    missed = profile.provenance.get("cost", {}).get("macs_not_counted") or {}
    if missed:
        said.append("MACs do not count these operators: " + ", ".join(sorted(missed)))
    return tuple(said)


def _zone(found: LeakageStudy) -> dict[str, Any]:
    zone = found.zone
    return {
        "edge": zone.edge,
        "edge_low": zone.edge_low,
        "edge_high": zone.edge_high,
        "published": list(zone.published),
        "sentences": list(zone.sentences),
        "mean_image_ssim": None if math.isnan(found.baseline_ssim) else found.baseline_ssim,
    }


def _provenance(
    run: _Run, loaded: LoadedModel, samples: Samples, graph: PartitionGraph, pricer: Pricer, seed: int, command: str
) -> dict[str, Any]:
    labels = "true labels" if samples.y is not None else "none; the model's own predictions"
    return {
        **pricer.profile.provenance,
        "command": command,
        "versions": _versions(),
        "seed": seed,
        "model": {
            "path": None if loaded.path is None else str(loaded.path),
            "sha256": loaded.sha256,
            "kind": loaded.kind,
            "weights": loaded.weights,
            "inputs": [list(spec.shape) for spec in graph.inputs.tensors],
            "cuts": len(graph.cuts),
        },
        "data": {
            "description": samples.description, "samples": len(samples), "labels": labels,
            "fingerprint": samples.fingerprint,
        },
        "host": {"system": platform.platform(), "threads": torch.get_num_threads()},
        "stages": {name: round(seconds, 3) for name, seconds in run.stages.items()},
    }  # fmt: skip


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("partition-advisor", "torch", "torchvision", "numpy", "optuna", "fvcore")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _identity(
    loaded: LoadedModel, samples: Samples, pricer: Pricer, budgets: Budgets, names: tuple[str, ...], *setting: str
) -> dict[str, Any]:
    """What a stored search is about; anything else starts a new one."""
    weights = loaded.sha256 or [float(p.double().sum()) for p in pricer.graph.module.state_dict().values()]
    return {
        "model": weights,
        "cuts": [cut.name for cut in pricer.graph.cuts],
        "data": samples.fingerprint,
        "budgets": dataclasses.asdict(budgets),
        "defenses": names,
        "setting": setting,
        "seed": pricer.seed,
    }
