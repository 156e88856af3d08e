"""Measured time on this computer: whole model, both halves of every cut and every piece, by the agent's own loop."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.profilers.boards import agent, tally
from advisor.profilers.boards.prepare import entering, one_sample, prepare
from advisor.profilers.boards.stretches import Stretches
from advisor.profilers.halves.half_latency import Halves
from advisor.progress import Progress, silence
from advisor.support.preserve import left_as_found

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph

Clock = Callable[[], float]
Step = Callable[..., Any]

TIME_LIMIT = 20.0
HERE = "this computer"


def halves(
    graph: PartitionGraph,
    progress: Progress = silence,
    clock: Clock = time.perf_counter,
    limit: float | None = None,
    runtime: str = "pytorch-eager",
) -> Halves:
    """Measure both halves at every cut for one sample, on this CPU with its current threads.

    Args:
        graph: the traced model.
        progress: told the share of the time limit that is used.
        clock: seconds, monotonic.
        limit: stop measuring after so many seconds.
        runtime: "pytorch-eager", "torch-compile" or "onnxruntime".

    Raises:
        AdvisorError: when a half cannot be compiled.
    """
    limit = TIME_LIMIT if limit is None else limit
    if runtime == "onnxruntime":
        result = _in_onnxruntime(graph, progress, clock, limit)
    else:
        result = _in_pytorch(graph, progress, clock, limit, runtime)
    facts = {"board": agent._board(), "memory": agent._memory(), **result}
    return tally.halves(result, len(graph.cuts), facts, HERE)


def _in_pytorch(graph: PartitionGraph, progress: Progress, clock: Clock, limit: float, runtime: str) -> dict[str, Any]:
    import torch

    compiling = runtime == "torch-compile"
    started, cases = agent.clocks(), _cases(graph, modules=compiling)
    with left_as_found(), torch.no_grad():
        if compiling:
            cases = [_compiled(case) for case in cases]
        for _ in range(agent.WARM_UP):  # of the library: a half has nothing of its own to prepare
            agent._run(cases[0], clock, lambda: None)
        samples = agent.time_cases(cases, clock, limit, told=_told(progress), warm_up=0)
        threads = torch.get_num_threads()
    return {
        **result(samples),
        "started": started, "ended": agent.clocks(), "runtime": runtime, "version": torch.__version__,
        "on": "cpu", "threads": threads,
    }  # fmt: skip


def _compiled(case: agent.Case) -> agent.Case:
    """The same steps compiled, each by itself as the two machines would; compiling is not timed."""
    import torch

    names, steps, given = case
    compiled: list[Step] = [torch.compile(step, fullgraph=True, dynamic=False) for step in steps]
    try:
        agent._run((names, compiled, given), time.perf_counter, lambda: None)
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
        line = next((text for text in str(error).splitlines() if text.strip()), type(error).__name__)
        raise AdvisorError(
            f"torch.compile refuses {names[0]}: {line[:160]}.", "Measure with local or local:onnxruntime."
        ) from None
    return names, compiled, given


def _in_onnxruntime(graph: PartitionGraph, progress: Progress, clock: Clock, limit: float) -> dict[str, Any]:
    started = agent.clocks()
    with tempfile.TemporaryDirectory() as scratch:
        job = json.loads(json.dumps(prepare(graph, "onnxruntime", Path(scratch))))
        runtime = agent.Onnx({**job, "on": "CPUExecutionProvider"})
        samples = agent.time_cases(runtime.cases(job, scratch), clock, limit, told=_told(progress))
    return {**result(samples), "started": started, "ended": agent.clocks(), **runtime.facts}


def result(samples: agent.Samples) -> dict[str, Any]:
    """Samples in the agent's form of a result."""
    chains = [values for name, values in samples.items() if name.startswith("piece:")]
    return {
        "rounds": len(samples["whole"]),
        "times": {name: agent.interval(values) for name, values in samples.items()},
        "pieces": agent.interval([sum(row) for row in zip(*chains, strict=True)]),
    }


def _told(progress: Progress) -> Callable[[agent.Samples, float], None]:
    return lambda _, share: progress(share)


def _cases(graph: PartitionGraph, modules: bool = False) -> list[agent.Case]:
    """The whole model first, then each cut's halves, then the chain of pieces."""
    last, inputs = len(graph.cuts) - 1, one_sample(graph)
    first = entering(graph, inputs)
    if modules or graph.fixed_batch is not None:
        whole: agent.Case = (["whole"], [_whole(graph)], inputs)
        part = _modules(graph)
    else:
        part = Stretches(graph).between
        whole = (["whole"], [part(0, last)], first)
    halves: list[agent.Case] = [
        ([f"edge:{i}", f"cloud:{i}"], [part(0, i), part(i, last)], first) for i in range(1, last)
    ]
    pieces = [part(i - 1, i) for i in range(1, last + 1)]
    return [whole, *halves, ([f"piece:{i}" for i in range(1, last + 1)], pieces, first)]


def _modules(graph: PartitionGraph) -> Callable[[int, int], Step]:
    """Parts as modules: what torch.compile takes, and what a program that was exported for a fixed batch needs."""
    return lambda start, stop: graph.piece(stop, start)


def _whole(graph: PartitionGraph) -> Step:
    from advisor.operations.grouping import Grouped

    return graph.module if graph.fixed_batch is None else Grouped(graph.module, graph.fixed_batch)
