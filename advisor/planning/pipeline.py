"""The stages before the search, each timed: load, trace, data, cost, leakage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advisor import profilers
from advisor.columns import Profile
from advisor.data.conversion import fitted
from advisor.data.example import example_from, shapes_of
from advisor.data.image_folder import ImageFolder
from advisor.data.normalization import check_not_yet_normalised, chosen_normalization
from advisor.data.samples import Samples, read
from advisor.data.synthesis import synthesise
from advisor.data.tasks import understood
from advisor.errors import AdvisorError
from advisor.estimators.noise import NoiseCurve
from advisor.estimators.study.leakage_study import LeakageStudy, repeated, study
from advisor.estimators.study.zone import ZoneThresholds
from advisor.graph import PartitionGraph
from advisor.loading import LoadedModel, load_model
from advisor.loading.shapes import example_of, infer_example
from advisor.plans import Advice, Gallery
from advisor.profilers import imported_profile as given_profiles
from advisor.sweep import panel_size
from advisor.tracing.tracer import trace

Progress = Callable[[str, float, str], None]
"""Called with the stage, the fraction of it that is done, and what is being worked on."""

SYNTHETIC_SMALL, SYNTHETIC_LARGE, LARGE_SIDE = 256, 64, 64


@dataclass
class Run:
    """One recommendation under way: what was assumed, what was not verified, how long stages took, where it is."""

    progress: Progress | None
    pictures: bool = False
    assumptions: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    stage: str = "load"
    cost: Profile | None = None
    gallery: Gallery | None = None

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


def load_inputs(
    run: Run, model: Any, example_inputs: Any, data: Any, arch: str | None, trust: Any,
    input_shape: tuple[int, ...] | None, resize: int | None, seed: int, labels: bool = True,
) -> tuple[LoadedModel, Samples | ImageFolder | None]:  # fmt: skip
    """The data as they are, checked before anything slow, and the model, with an example to trace it with."""
    with run.timed("load") as tell:
        found = None if data is None else read(data, seed=seed, labels=labels)
        tell(0.5, "model")
        if isinstance(model, str | Path):
            loaded = _loaded(model, arch, trust, input_shape, found)
            _check_stated_shape(loaded, input_shape)
        else:
            loaded = LoadedModel(model, "module", None, "", _example(model, input_shape))
        needed = loaded.example_inputs is None or not isinstance(found, ImageFolder)
        if found is not None and needed and input_shape is None and example_inputs is None:
            loaded = _with_example_of(loaded, found, resize)
        run.assumptions += [*loaded.notes, *(found.notes if found else ())]
    return loaded, found


def _loaded(
    model: str | Path, arch: str | None, trust: Any, stated: tuple[int, ...] | None, found: Samples | ImageFolder | None
) -> LoadedModel:
    """The model file; a script, which takes no other shape once it is converted, in one that the data can have."""
    shapes = shapes_of(found) if stated is None and isinstance(found, Samples) else []
    try:
        loaded = load_model(model, arch=arch, trust=trust, input_shape=stated)
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


def trace_model(
    run: Run, loaded: LoadedModel, given: Any, example_inputs: Any, normalize: str,
    max_tensors: int | None = None, granularity: Any = None,
) -> PartitionGraph:  # fmt: skip
    """The graph, normalisation inserted; the example comes from the user, the file, the data or the layers."""
    with run.timed("trace"):
        if isinstance(given, PartitionGraph):
            return trace(given, max_tensors=max_tensors, granularity=granularity)
        normalization, sentence = chosen_normalization(normalize, loaded.normalization)
        run.assumptions.append(sentence)
        example = example_inputs if example_inputs is not None else loaded.example_inputs
        if example is None and isinstance(loaded.model, nn.Module):
            example, note = infer_example(loaded.model)
            run.assumptions.append(note)
        graph = trace(
            loaded.model, example, normalization=normalization, max_tensors=max_tensors, granularity=granularity
        )
        run.assumptions += graph.notes
    return graph


def fit_or_make_samples(
    run: Run, graph: PartitionGraph, found: Samples | ImageFolder | None, resize: int | None, seed: int
) -> Samples:
    """The given samples as the model takes them; else synthetic ones."""
    with run.timed("data") as tell:
        if found is not None:
            samples = fitted(found, graph, resize)
            if graph.inputs.normalization is not None:
                check_not_yet_normalised(samples.x)
            run.assumptions += [note for note in samples.notes if note not in run.assumptions]
            return samples
        sides = max(max(spec.shape[-2:], default=1) for spec in graph.inputs.tensors)
        wanted = SYNTHETIC_SMALL if sides <= LARGE_SIDE else SYNTHETIC_LARGE
        made = synthesise(graph, panel_size(graph, wanted), seed, lambda done, of: tell(done / of, "synthesis"))
        run.assumptions.append(f"Leakage and accuracy were measured on {made.description}.")
    return made


def with_task(
    run: Run, graph: PartitionGraph, samples: Samples, task: str, scores: str | int | None, made: bool
) -> tuple[PartitionGraph, Samples]:
    """The graph that knows what its output means, and the samples with labels to match."""
    with run.timed("data"):
        graph, samples = understood(graph, samples, task, scores, made)
        run.assumptions += [note for note in samples.notes if note not in run.assumptions]
    return graph, samples


def still_applies(
    run: Run, earlier: Advice | None, loaded: LoadedModel, graph: PartitionGraph, samples: Samples, seed: int
) -> Advice | None:
    """Earlier advice about the same model file, inputs, data and seed; of another it says what differs: None."""
    if earlier is None:
        return None
    model, data = earlier.provenance.get("model") or {}, earlier.provenance.get("data") or {}
    checks = {
        "model": loaded.sha256 is not None and model.get("sha256") == loaded.sha256,
        "input": [plan.inputs for plan in earlier.baselines[:1]] == [graph.inputs],
        "data": data.get("fingerprint") == samples.fingerprint,
        "seed": earlier.provenance.get("seed") == seed,
        "version": (earlier.provenance.get("versions") or {}).get("partition-advisor") == version("partition-advisor"),
    }
    other = [what for what, same in checks.items() if not same]
    if other:
        run.assumptions.append(f"Nothing was taken from the earlier advice: it has another {' and '.join(other)}.")
    return None if other else earlier


def measure_cost(run: Run, graph: PartitionGraph, edge: Any, wire: Any, server: Any, given: Any) -> Profile:
    """The cost columns; those of a given profile win."""
    with run.timed("cost") as tell:
        measured = Profile.load(given) if isinstance(given, str | Path) else given
        if measured is not None:
            given_profiles.check(measured.provenance, graph)
        cost = profilers.profile(graph, edge, wire, server, progress=lambda share: tell(share, "cost"))
        if measured is not None:
            cost = given_profiles.joined(cost, measured)
            names = ", ".join(given_profiles.taken(measured))
            run.assumptions.append(f"Cost columns were taken from the given profile: {names}.")
        rows = [cost.provenance.get(key, {}) for key in ("device", "link", "cloud")]
        run.assumptions += [f"{row['key']}: {row['stands_for']}." for row in rows if row.get("stands_for")]
        run.assumptions += cost.provenance.get("cost", {}).get("notes", [])
    return cost


def measure_leakage(
    run: Run, graph: PartitionGraph, samples: Samples, thresholds: ZoneThresholds | None, seed: int,
    earlier: Advice | None = None,
) -> LeakageStudy:  # fmt: skip
    """The leakage study, with what it assumed said; taken from earlier advice where that has the same cuts."""
    with run.timed("leakage") as tell:
        if earlier is not None and [cut.name for cut in earlier.profile.cuts] == [cut.name for cut in graph.cuts]:
            curves = {
                name: NoiseCurve(np.array(curve.sigma), np.array(curve.nmse), curve.bare)
                for name, curve in earlier.noise.items()
            }
            columns = {column.name: column for column in earlier.profile if run.cost and column.name not in run.cost}
            kept = Profile(graph.cuts, columns)
            found = repeated(graph, samples.x, samples.labels, kept, curves, thresholds=thresholds, seed=seed)
            run.gallery = earlier.gallery if run.pictures else None
            run.assumptions.append("Leakage was taken from the earlier advice: same model, data, seed and cuts.")
        else:
            found = study(graph, samples.x, samples.labels, thresholds=thresholds, seed=seed, progress=tell)
        if found.targets.note != "inputs as given":
            run.assumptions.append(f"Reconstruction: {found.targets.note}.")
    return found
