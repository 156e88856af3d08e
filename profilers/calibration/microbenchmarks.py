"""Operators of many shapes, timed on this machine inside chains: what a calibration learns from."""

from __future__ import annotations

import itertools
import math
import operator
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from advisor.profilers.boards import agent
from advisor.profilers.calibration.chains import chain
from advisor.profilers.calibration.drawn_chain import Chain, Step
from advisor.profilers.calibration.operators import Operator, in_turn
from advisor.progress import Progress, silence

CHAINS, GROUP, ROUNDS = 280, 4, 5
"""Chains in all; how many take turns, so that each finds the weights of the others in the caches, not its own; timed
runs of each in one go."""

SHARE = 4
"""One part in so many of the machine's memory is what the parameters of a group may take."""

WARM_UP = 2
"""Runs of the fixed piece of work that do not count."""

Timed = tuple[Operator, float]
Call = Callable[..., Any]


def timed(seconds: float, seed: int = 0, progress: Progress = silence) -> tuple[list[Timed], float]:
    """Operators with their median seconds, and the seconds of a fixed piece of work at the time.

    All are gone through again and again until the time is over, and what was timed in a slow minute counts for less
    time: a machine shared with others has such, and each group's times are taken at the usual pace of a fixed piece of
    work that runs beside it.

    Args:
        seconds: how long to measure.
        seed: of the chains.
        progress: told the share of the time that is used.
    """
    import torch

    rng, start, pace = random.Random(seed), time.perf_counter(), Pace()
    most = (agent._memory() or 4e9) / 4 / SHARE / GROUP
    groups = [[chain(rng, most) for _ in range(GROUP)] for _ in range(CHAINS // GROUP)]
    visits: list[tuple[int, float, list[list[list[float]]]]] = []
    with torch.no_grad():
        for number in itertools.count():
            used, group = (time.perf_counter() - start) / max(seconds, 1e-9), number % len(groups)
            if used >= 1:
                break
            progress(used)
            before, samples = pace.seconds(), _in_turn(groups[group])
            visits.append((group, (before + pace.seconds()) / 2, samples))
    usual = statistics.median(taken for _, taken, _ in visits) if visits else 0.0
    return _at_one_pace(groups, visits, usual), usual


def _at_one_pace(
    groups: list[list[Chain]], visits: list[tuple[int, float, list[list[list[float]]]]], usual: float
) -> list[Timed]:
    found: dict[Operator, list[float]] = {}
    for index, members in enumerate(groups):
        turned = iter(in_turn([step.operator for one in members for step in one.steps]))
        mine = [(usual / taken, samples) for group, taken, samples in visits if group == index]
        for i, one in enumerate(members):
            for j, step in enumerate(one.steps):
                of, times = next(turned), [share * run[j] for share, samples in mine for run in samples[i]]
                if times and step.name != "getitem":  # which is no operator of PyTorch's
                    found.setdefault(of, []).extend(times)
    return [(of, agent.interval(times)[0]) for of, times in found.items()]


class Pace:
    """How fast this machine is at the moment: a fixed piece of work, a convolution and a pass over memory."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.image, self.kernel = torch.ones(1, 64, 56, 56), torch.ones(64, 64, 3, 3)
        self.long = torch.ones(2_000_000)

    def seconds(self, repeats: int = 5) -> float:
        """Median seconds of the work, once it finds its data in the caches."""
        times = []
        for _ in range(repeats + WARM_UP):
            started = time.perf_counter()
            self.torch.conv2d(self.image, self.kernel, padding=1)
            self.long.relu()
            times.append(time.perf_counter() - started)
        return statistics.median(times[WARM_UP:])


def _in_turn(members: list[Chain]) -> list[list[list[float]]]:
    """Seconds of every step of every chain, run by run; the first run prepares and does not count."""
    runs = [built(one) for one in members]
    samples: list[list[list[float]]] = [[] for _ in members]
    for turn in range(ROUNDS + 1):
        for i, (module, given) in enumerate(runs):
            stamps = module(given)
            if turn:
                samples[i].append([after - before for before, after in itertools.pairwise(stamps)])
    return samples


def built(one: Chain, stamped: bool = True) -> tuple[Any, Any]:
    """A chain as a module that returns when each step began and the last ended, or the last value, and its input.

    It is written as the halves of a model are: parameters looked up, values dropped after their last use.
    """
    import torch
    from torch import fx

    root, graph, generator = torch.nn.Module(), fx.Graph(), torch.Generator().manual_seed(0)
    noise = torch.randn(2**18, generator=generator)
    values = [graph.placeholder("given")]
    stamps = [graph.call_function(time.perf_counter)] if stamped else []
    for number, step in enumerate(one.steps):
        held = []
        for i in range(len(step.held)):
            label = f"held_{number}_{i}"
            root.register_buffer(label, _weights(noise, step, i))
            held.append(graph.get_attr(label))
        values.append(_call(torch, graph, step, [values[i] for i in step.sources], held))
        if stamped:
            stamps.append(graph.call_function(time.perf_counter))
    graph.output(tuple(stamps) or values[-1])
    return fx.GraphModule(root, graph), torch.rand((1, *one.shape), generator=generator)


def _weights(noise: Any, step: Step, index: int) -> Any:
    """Random matrices that keep numbers about as large as they are, as in a network, and plain further parameters.

    A maximum over numbers that are all alike would be quick, and ones too small for the usual format would be slow.
    """
    shape, size = step.held[index], math.prod(step.held[index])
    if index or not step.name.startswith(("conv", "linear")):
        return noise.new_full(shape, 0.5)
    repeated = noise.repeat(-(-size // len(noise)))[:size].view(shape)
    return repeated.mul_(math.sqrt(2 * shape[0] / size))


def _call(torch: Any, graph: Any, step: Step, given: list[Any], held: list[Any]) -> Any:
    if step.name == "getitem":
        return graph.call_function(operator.getitem, (given[0], *step.options))
    name, overload = step.name.split(".")
    function = getattr(getattr(torch.ops.aten, name), overload)
    if name == "conv2d":
        return graph.call_function(function, (given[0], held[0], held[1] if len(held) > 1 else None, *step.options))
    if name == "layer_norm":
        return graph.call_function(function, (given[0], *step.options, *held))
    if name == "cat":
        return graph.call_function(function, (given, *step.options))
    return graph.call_function(function, (*given, *held, *step.options))
