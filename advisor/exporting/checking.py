"""Is what was written what was meant? Every export is run beside the plan's own halves before it is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from advisor.errors import AdvisorError
from advisor.exporting.manifest_entries import Check
from advisor.exporting.parts import Part, random_inputs, tensors_in, with_noise
from advisor.exporting.program import call_arguments
from advisor.tracing.batch_range import most_samples

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph

Runner = Callable[[Sequence[Tensor]], list[Tensor]]
BATCHES = (2, 1, 5)
MANY = 256
"""Where operations choose by the number of samples, one more than the exporter vouches for is run, up to so many."""

LIMITS = {"float16": 2e-2, "bfloat16": 2e-2}
LIMIT = 1e-3
"""Largest difference of a part's output from the plan's own, over the largest absolute value of that output."""

TIE = 1e-5
"""Scores this close, over the largest, are a tie: float32 after some hundred operations."""


def check(
    parts: Sequence[Part],
    runners: Sequence[Runner],
    graph: PartitionGraph,
    exact: bool,
    runtime: str,
    model: Callable[[Sequence[Tensor]], Any] | None = None,
) -> Check:
    """Run every part beside the plan's own half, and all parts one after the other.

    Args:
        parts, runners: what was meant, and what was written, in order.
        graph: of the model.
        exact: demand equal bits.
        runtime: said in the result.
        model: the model itself, where the plan's halves must compute the same bits; None where a defense lies between.

    Raises:
        AdvisorError: when they disagree; the message says where and by how much.
    """
    batches = BATCHES if graph.fixed_batch is None else (graph.fixed_batch,)
    if (most := most_samples(graph)) is not None and most < MANY:
        batches = (*batches, most + 1)
    same, difference, equal = True, 0.0, []
    for batch in batches:
        wanted = found = random_inputs(graph.inputs.tensors, batch, seed=batch)
        same_so_far = True
        for part, runner in zip(parts, runners, strict=True):
            wanted, found = with_noise(part, wanted, batch), with_noise(part, found, batch)
            meant = _meant(part, graph, wanted)
            if any(bool(t.isnan().any()) for t in meant):
                raise AdvisorError(
                    f"The plan's {part.name} part answers NaN for random numbers in [0, 1): NaN passes no check.",
                    "Look for what gives NaN there: a logarithm, a root, a division by zero; nothing was written.",
                )
            alone = runner(wanted)
            chained = alone if same_so_far else runner(found)
            if batch == batches[0] and not _identical(runner(wanted), alone):
                raise AdvisorError(
                    f"The exported {part.name} part answers equal inputs differently: it still draws by itself.",
                    "Let the defense draw with torch.randn_like, torch.rand_like or torch.bernoulli.",
                )
            agrees = _agree(part, alone, meant, exact)
            same_so_far = same_so_far and agrees
            wanted = tuple(meant)
            found = wanted if same_so_far else tuple(chained)
            same = same and agrees
        if any(bool(t.isnan().any()) for t in found):
            raise AdvisorError("The exported parts answer NaN one after the other.", "Nothing was written.")
        difference = max(difference, *(_difference(f, w) for f, w in zip(found, wanted, strict=True)))
        given = random_inputs(graph.inputs.tensors, batch, seed=batch)
        if model is not None and not _identical(tensors_in(model(given)), wanted):
            raise AdvisorError("The plan's halves do not compute what the model does.", "Please report this.")
        equal.append(_top1(found[0], wanted[0]))
    top1 = float(torch.cat(equal).float().mean()) if equal[0].numel() else math.nan
    if top1 < 1:
        changed = f"{1 - top1:.0%} of the samples"
        raise AdvisorError(f"The export changes the highest score of {changed}.", "Use --format pt2.")
    tolerance = 0.0 if exact else max(_limit(t.dtype) for part in parts for t in part.outputs)
    return Check(runtime, batches, same, tolerance, difference, top1)


def _meant(part: Part, graph: PartitionGraph, flat: Sequence[Tensor]) -> list[Tensor]:
    args, kwargs = call_arguments(part, graph, flat)
    with torch.no_grad():
        return tensors_in(part.module(*args, **kwargs))


def _identical(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return all(_equal(a, b) for a, b in zip(first, second, strict=True))


def _equal(first: Tensor, second: Tensor) -> bool:
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return bool(((first == second) | ((first != first) & (second != second))).all())


def _agree(part: Part, found: Sequence[Tensor], meant: Sequence[Tensor], exact: bool) -> bool:
    """Whether all bits agree; raises where even the tolerance is missed."""
    for named, a, b in zip(part.outputs, found, meant, strict=True):
        if a.dtype != b.dtype or a.shape != b.shape:
            raise AdvisorError(
                f"The exported {part.name} part gives {named.name} as {a.dtype} {tuple(a.shape)}, "
                f"the plan's own as {b.dtype} {tuple(b.shape)}.",
                "Nothing was written.",
            )
        if _equal(a, b):
            continue
        difference, allowed = _difference(a, b), 0.0 if exact else _allowed(named.role, b)
        if not difference <= allowed:
            raise AdvisorError(
                f"The exported {part.name} part differs from the plan's own by {difference:.2g} in {named.name}, "
                f"{allowed:.2g} is allowed.",
                "Nothing was written.",
            )
    return _identical(found, meant)


def _allowed(role: str, meant: Tensor) -> float:
    if role == "codes":
        return 1.0  # one rounding step
    if not meant.dtype.is_floating_point:
        return 0.0
    scale = float(meant.double().nan_to_num(0, 0, 0).abs().max()) if meant.numel() else 0.0
    return _limit(str(meant.dtype).removeprefix("torch.")) * scale


def _limit(dtype: str) -> float:
    return LIMITS.get(dtype, LIMIT)


def _difference(found: Tensor, meant: Tensor) -> float:
    """Largest absolute difference; infinite where one is not a number and the other is."""
    if not meant.numel():
        return 0.0
    kind = torch.complex128 if meant.dtype.is_complex else torch.float64
    a, b = found.to(kind), meant.to(kind)
    alike = (a == b) | ((a != a) & (b != b))
    return float(torch.where(alike, 0.0, (a - b).abs()).nan_to_num(math.inf).max())


def _top1(found: Tensor, meant: Tensor) -> Tensor:
    """For each sample, whether the highest score is that of the same class; scores within rounding are a tie."""
    if meant.dim() != 2 or meant.shape[1] < 2 or not meant.dtype.is_floating_point:
        return torch.empty(0)
    rows = meant.double()
    chosen = rows.gather(1, found.argmax(1, keepdim=True)).squeeze(1)
    return (found.argmax(1) == rows.argmax(1)) | (rows.amax(1) - chosen <= TIE * rows.abs().amax(1))
