"""`advisor.profile`, `advisor.leakage` and `advisor.accuracy`: what a recommendation is made of, each on its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.columns import Profile
from advisor.cuts import Cut
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.progress import about, of_steps

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from advisor.defenses import Defense
    from advisor.estimate import Estimate


def profile(
    graph: PartitionGraph | nn.Module | ExportedProgram | str | Path,
    device: str = "jetson",
    link: str = "wifi",
    cloud: str = "t4",
    *,
    extra: str | Path | None = None,
    progress: Callable[[float, str], None] | None = None,
    limit: float | None = None,
    also: Sequence[str] = (),
    example_inputs: Any = None,
) -> Profile:
    """Cost of every cut: `macs`, `params`, `bytes`, `edge_memory`, the latencies and `edge_energy`.

    Args:
        graph: the traced model; or a model, as `recommend` takes it.
        device: key `name[:runtime[:precision[@mode]]]`, an alias such as `jetson`, `local` (measured here) or
            `ssh://user@host[:port]` (measured there).
        link: preset, or `bandwidth=20Mbps,rtt=15ms`.
        cloud: as `device`.
        extra: a TOML file with your own devices and links.
        progress: called with the fraction done and what is being worked on.
        limit: seconds of timing where something is measured; None for the usual.
        example_inputs: to trace a module with, `[N, ...]`; None: its layers tell.
        also: your own profilers, each as `package.module:Name`.

    Raises:
        AdvisorError: on an unknown device or link; the message suggests the nearest names.
    """
    from advisor import profilers
    from advisor.tracing.given import as_graph

    return profilers.profile(
        as_graph(graph, example_inputs),
        device,
        link,
        cloud,
        extra=extra,
        progress=about(of_steps(progress), "cost"),
        limit=limit,
        also=also,
    )


def leakage(
    graph: PartitionGraph | nn.Module | ExportedProgram | str | Path,
    x: Any,
    y: Any = None,
    only: Sequence[str] | None = None,
    seed: int = 0,
    cut: Cut | int | str | None = None,
    defense: Defense | str | None = None,
    *,
    progress: Callable[[float, str], None] | None = None,
    compute: str | None = None,
) -> Profile:
    """Leakage of every cut, measured in one forward pass over the samples; with a cut, of that payload alone.

    Args:
        graph: the traced model, or a variant; or a model, as `recommend` takes it.
        x: a tensor `[N, ...]`, or a tuple or dict of them; images in [0, 1].
        y: `[N]` labels; None takes the model's own predictions.
        only: names of columns to measure, or `package.module:Name` of your own estimator; None measures all.
        seed: same seed, same answer.
        cut: measure what is sent there, a profile of one cut; None measures every cut, undefended.
        defense: what happens to the activation at that cut before it is sent: a defense, or its text.
        progress: called with the fraction done and the cut.
        compute: "auto", "cpu", "cuda", "cuda:1" or "mps"; None: as of the run under way, else "auto".

    Raises:
        DataError: when the samples do not fit the model.
        AdvisorError: on an unknown column or defense, or a defense without a cut.
    """
    from advisor.computing.chosen_device import computing_on
    from advisor.estimators.study.leakage_study import study
    from advisor.estimators.study.payload_leakage import payload_leakage
    from advisor.payload import Payload
    from advisor.tracing.given import as_graph

    graph = as_graph(graph, x)
    if cut is None and defense is not None:
        raise AdvisorError("A defense acts at one cut, and none is named.", "Pass cut as well.")
    told = of_steps(progress)
    with computing_on(compute):
        if cut is not None:
            return payload_leakage(Payload.of(graph, cut, defense), x, y, only=only, seed=seed, progress=told)
        return study(graph, x, y, only=only, seed=seed, progress=told).profile


def accuracy(
    graph: PartitionGraph | nn.Module | ExportedProgram | str | Path,
    x: Any,
    y: Any = None,
    cut: Cut | int | str | None = None,
    defense: Defense | str | None = None,
    seed: int = 0,
    *,
    task: str = "auto",
    scores: str | int | None = None,
    compute: str | None = None,
) -> Estimate:
    """How well the model answers from what is received: a share, or what its task asks.

    Args:
        graph: the traced model, or a variant; or a model, as `recommend` takes it.
        x: a tensor `[N, ...]`, or a tuple or dict of them.
        y: `[N, ...]` labels as the task has them; None holds the answers against those of the undefended base.
        cut: where the payload is sent; None: a variant's payload, and of any other graph the whole model, undefended.
        defense: what happens to the payload before it is sent: a defense, or its text.
        seed: of the defense's randomness.
        task: how the output is judged; "auto" goes by the labels and the outputs, as `recommend` does.
        scores: name or number of the output that counts; None chooses.
        compute: "auto", "cpu", "cuda", "cuda:1" or "mps"; None: as of the run under way, else "auto".

    Raises:
        DataError: when the samples do not fit the model, or the labels the task.
        AdvisorError: when it cannot be measured, with the reason; or on a defense without a cut.
    """
    from advisor.batches import carried, first_scores
    from advisor.computing.chosen_device import computing_on
    from advisor.data.checks import labels_of
    from advisor.data.samples import Samples
    from advisor.data.tasks.meaning import understood
    from advisor.payload import Payload
    from advisor.planning.judging.accuracy import Accuracy
    from advisor.tracing.given import as_graph
    from advisor.variant import Variant

    graph = as_graph(graph, x)
    inputs = graph.flat(x)
    if cut is None and isinstance(graph, Variant):
        cut = graph.payload
    if cut is None and defense is not None:
        raise AdvisorError("A defense acts at one cut, and none is named.", "Pass cut as well.")
    base = graph.base if isinstance(graph, Variant) else graph
    given = Samples(x, labels_of(y, len(inputs[0])), "the given samples", "")
    known = base.task.kind if base.task is not None and task == "auto" else task
    base, read = understood(base, given, known, scores)
    graph = graph if base.task is None else graph.with_task(base.task)
    with computing_on(compute):
        judged = Accuracy(first_scores(base, inputs), read.y, base.task)
        if judged.why_not:
            raise AdvisorError(f"Accuracy cannot be measured: {judged.why_not}.", "Pass other samples or labels.")
        if cut is None:
            return judged.undefended()["accuracy"]
        payload = Payload.of(graph, cut, defense)
        return judged.of(payload.scores(carried(graph, inputs, 0, payload.cut.index), seed))["accuracy"]
