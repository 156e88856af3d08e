"""Does the written edge hide what it promises? Two calls on equal inputs must differ by the promised variance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from advisor.errors import AdvisorError
from advisor.exporting.checking import Runner
from advisor.exporting.manifest_entries import Freshness, Noise
from advisor.exporting.parts import Part, random_inputs
from advisor.runtime.edge import standard

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph
    from advisor.plans import Plan

LEVEL = 1e-6
"""Two-sided significance: one export in a million is refused by chance."""
QUANTILE = 4.892
"""Of the standard normal distribution, at 1 − LEVEL / 2."""
ELEMENTS, FEWEST_ROWS, MOST_ROWS, ROUND = 40_000, 32, 2_000, 16
"""A variance is known to 0.7 % from so many normal differences; rows that are run for them, and at a time."""


def check_freshness(plan: Plan, part: Part, runner: Runner, graph: PartitionGraph) -> Freshness | None:
    """What two calls on equal inputs differ by, where the part takes noise.

    The variance is held against that of the defense where it is plain noise; else against that of the plan's own half,
    which draws by torch. Both estimates are means of many differences, and taken as normal.

    Args:
        plan: what was promised.
        part: the part that sends.
        runner: as it was written.
        graph: of the model.

    Raises:
        AdvisorError: when they differ by more or less; the chance that this is a mistake is `LEVEL`.
    """
    if part.noise is None:
        return None
    elements = max(1, sum(math.prod(t.shape) for t in part.outputs))
    rows = min(MOST_ROWS, max(FEWEST_ROWS, ELEMENTS // elements))
    size = graph.fixed_batch or min(rows, max(ROUND, ELEMENTS // elements))
    written, own, level = _Mean(), _Mean(), 0.0
    for number in range(math.ceil(rows / size)):
        flat = random_inputs(graph.inputs.tensors, size, seed=number)
        pair = [received(plan, part, runner((*flat, drawn(part.noise, size)))) for _ in range(2)]
        written.add(*pair)
        own.add(*(received(plan, part, _own(part, graph, flat)) for _ in range(2)))
        level = plan.defense.noise_equivalent(pair[0]) or 0.0
    if math.isnan(written.value):
        raise AdvisorError(
            "The exported edge answers NaN for random inputs: NaN passes no check.", "Nothing was written."
        )
    sigma = plan.defense.noise
    if written.value == own.value == 0:
        return Freshness(written.count, 0.0, 0.0, LEVEL, "noise that was set to nothing")
    if plain := sigma > 0 and level == sigma:
        promised, error, source = sigma**2, written.error(False), plan.defense.spec
    else:
        promised, error = own.value, math.hypot(written.error(True), own.error(True))
        source = "the plan's own half, which draws by torch"
    if not (written.value > 0 and abs(written.value - promised) <= QUANTILE * error):
        raise AdvisorError(
            f"Two calls of the exported edge differ by noise of variance {written.value:.4g}, while "
            f"{promised:.4g} is {'promised' if plain else 'that of the plan itself'}.",
            "Nothing was written; please report this.",
        )
    return Freshness(written.count, written.value, promised, LEVEL, source)


class _Mean:
    """Half the mean squared difference of pairs of calls, and how well it is known."""

    def __init__(self) -> None:
        self.count, self.sum, self.squares, self.rows = 0, 0.0, 0.0, list[float]()

    def add(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
        """One more pair, each tensor `[N, ...]`; masks and integers are left out."""
        parts = [
            ((a.double() - b.double()).square() / 2).reshape(len(a), -1)
            for a, b in zip(first, second, strict=True)
            if a.is_floating_point()
        ]
        halves = torch.cat(parts, 1)
        self.count += halves.numel()
        self.sum, self.squares = self.sum + float(halves.sum()), self.squares + float(halves.square().sum())
        self.rows += halves.mean(1).tolist()

    @property
    def value(self) -> float:
        """The mean."""
        return self.sum / self.count

    def error(self, by_rows: bool) -> float:
        """Its standard error, by rows where elements of a row may depend on each other."""
        if by_rows:
            return statistics.stdev(self.rows) / math.sqrt(len(self.rows))
        return math.sqrt(max(0.0, self.squares / self.count - self.value**2) / self.count)


def drawn(noise: Noise, rows: int) -> Tensor:
    """As the `edge.py` of the export draws."""
    return torch.from_numpy(standard(noise.distribution, (rows, *noise.shape), noise.dtype))


def _own(part: Part, graph: PartitionGraph, flat: Sequence[Tensor]) -> list[Any]:
    """What the plan's own half sends, with draws of its own."""
    args, kwargs = pytree.tree_unflatten(list(flat), graph.in_spec)
    with torch.no_grad():
        leaves: list[Any] = pytree.tree_leaves(part.half(*args, **kwargs))
    return leaves


def received(plan: Plan, part: Part, flat: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What the cloud half gets of the flat tensors that the first part sends, restored."""
    value = pytree.tree_unflatten(list(flat), part.sent)
    wires = (value,) if len(plan.cut.tensors) == 1 else tuple(value)
    return plan.defense.receive(wires, [getattr(torch, spec.dtype) for spec in plan.cut.tensors])
