"""One forward pass over the samples; at each cut a view of the activation is handed to every estimator, then let go."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.multiprocessing.reductions import StorageWeakRef

from advisor.columns import Column
from advisor.cut_view import ColumnSpec, CutView, Estimator, Targets
from advisor.cuts import Cut
from advisor.derivatives.jacobian_grams import JacobianGram
from advisor.derivatives.tangents import TangentEnergy
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.graph import PartitionGraph
from advisor.progress import Progress, silence
from advisor.support.preserve import left_as_found, plain_attention
from advisor.support.threads import one_thread

_WAYS = 3
TIME_UP = "the time that was given was up"
"""Why nothing was measured past it."""


@dataclass
class Sheet:
    """Collects estimates cut by cut and turns them into columns."""

    cuts: Sequence[Cut]
    specs: Sequence[ColumnSpec]
    rows: dict[str, list[Estimate]] = field(default_factory=dict)
    why: dict[str, list[str]] = field(default_factory=dict)

    def repeat(self) -> None:
        """The same numbers cross as at the cut before (a reshape): so does everything measured."""
        for name, rows in self.rows.items():
            rows.append(rows[-1])
            self.why[name].append(self.why[name][-1])

    def add(self, estimator: Estimator, view: CutView) -> None:
        """Measure one estimator at one cut; what it cannot measure is recorded with its reason."""
        try:
            with one_thread():
                found, reason = estimator.at(view), "not measured at this cut"
        except NotMeasurableError as error:
            found, reason = {}, str(error)
        for spec in estimator.columns:
            estimate = found.get(spec.name, Estimate(math.nan))
            missing = math.isnan(estimate.value)
            self.rows.setdefault(spec.name, []).append(estimate)
            self.why.setdefault(spec.name, []).append((estimate.method or reason) if missing else "")

    def leave_out(self, estimator: Estimator, why: str) -> None:
        """Measure nothing of one estimator at one cut, and say why."""
        for spec in estimator.columns:
            self.rows.setdefault(spec.name, []).append(Estimate(math.nan))
            self.why.setdefault(spec.name, []).append(why)

    def columns(self) -> dict[str, Column]:
        """One column a spec, in order."""
        return {spec.name: self._column(spec) for spec in self.specs}

    def _column(self, spec: ColumnSpec) -> Column:
        rows = self.rows[spec.name]
        parts: dict[str, Any] = {
            part: np.array([getattr(e, part) for e in rows]) for part in ("value", "stderr", "low", "high")
        }
        return Column.of(
            spec.name, spec.unit, spec.better, parts["value"], spec.source,  # type: ignore[arg-type]
            stderr=parts["stderr"], low=parts["low"], high=parts["high"],
            method=_methods([e.method or spec.method for e in rows if not math.isnan(e.value)] or [spec.method]),
            why=self.why[spec.name],
        )  # fmt: skip


def _methods(said: Sequence[str]) -> str:
    """What a column says of how its values were had: where a few ways were needed, all of them, the commonest first."""
    ways = Counter(said).most_common()
    return "; ".join(way for way, _ in ways) if len(ways) <= _WAYS else ways[0][0]


def sweep(
    graph: PartitionGraph,
    inputs: tuple[Tensor, ...],
    targets: Targets,
    estimators: Sequence[Estimator],
    *,
    energies: dict[int, TangentEnergy] | None = None,
    grams: dict[int, JacobianGram] | None = None,
    seed: int = 0,
    until: float = math.inf,
    progress: Progress = silence,
    on_repeat: Callable[[int], None] | None = None,
) -> dict[str, Column]:
    """Run the model once over all samples and measure every estimator at every cut.

    Args:
        graph: the traced model.
        inputs: flat tensors `[n, ...]`; `n` should come from `panel_size`.
        targets: what the attacker wants; same `n`.
        estimators: what to measure.
        energies, grams: of tangents by cut index, for estimators that use derivatives.
        seed: handed to estimators that draw.
        until: `time.monotonic()` after which nothing more is measured.
        progress: called after each cut.
        on_repeat: called with each cut that the same numbers cross as the one before; its columns are repeated.

    Returns:
        The measured columns by name, aligned with `graph.cuts`.
    """
    from advisor.defenses.payload.rounding import rounding_step

    sheet = Sheet(graph.cuts, [spec for e in estimators for spec in e.columns])
    last_use, complete = _schedule(graph)
    held: dict[fx.Node, Any] = {}
    previous: list[_Seen | None] = []

    def measure(index: int, crossing: tuple[Tensor, ...]) -> None:
        step = max(rounding_step(t) for t in crossing)
        tangents = (energies or {}).get(index), (grams or {}).get(index)
        view = CutView(graph.cuts[index], crossing, targets, step, seed, *tangents)
        for number, estimator in enumerate(estimators):
            if time.monotonic() < until:
                sheet.add(estimator, view)
            else:
                sheet.leave_out(estimator, TIME_UP)
            progress((index + (number + 1) / len(estimators)) / len(graph.cuts), graph.cuts[index].name)

    def at_node(node: fx.Node, value: Any) -> None:
        if node in last_use:
            held[node] = value
        for index in complete.get(node, ()):
            crossing = tuple(held[n] for n in graph.activation_nodes[index])
            if index and _same_numbers(previous, crossing):
                sheet.repeat()
                if on_repeat:
                    on_repeat(index)
            else:
                measure(index, crossing)
                previous[:] = map(_Seen.of, crossing)
            for done in [n for n in graph.activation_nodes[index] if last_use[n] == index]:
                del held[done]

    with left_as_found(graph.module), plain_attention(), torch.no_grad():
        graph.run(inputs, at_node)
    return sheet.columns()


def _schedule(graph: PartitionGraph) -> tuple[dict[fx.Node, int], dict[fx.Node, list[int]]]:
    """For each crossing node the last cut it crosses, and for each node the cuts that are complete once it ran."""
    order = {node: i for i, node in enumerate(graph.data_nodes)}
    last_use: dict[fx.Node, int] = {}
    complete: dict[fx.Node, list[int]] = {}
    for index, nodes in enumerate(graph.activation_nodes):
        last_use.update(dict.fromkeys(nodes, index))
        complete.setdefault(max(nodes, key=order.__getitem__), []).append(index)
    return last_use, complete


@dataclass(frozen=True, eq=False)
class _Seen:
    """Where a tensor's numbers lie, without keeping them: at a wide cut they are a third of all memory."""

    storage: StorageWeakRef
    place: int
    numel: int
    dtype: torch.dtype

    @classmethod
    def of(cls, value: Tensor) -> _Seen | None:
        """None where they do not lie one after the other."""
        if not value.is_contiguous():
            return None
        storage = StorageWeakRef(value.untyped_storage())  # type: ignore[no-untyped-call]
        return cls(storage, value.data_ptr(), value.numel(), value.dtype)

    def still(self, other: _Seen) -> bool:
        """Whether the other has the same numbers, reshaped at most; a place that was freed since is another."""
        same = (self.place, self.numel, self.dtype) == (other.place, other.numel, other.dtype)
        return same and self.storage == other.storage and not self.storage.expired()  # type: ignore[no-untyped-call]


def _same_numbers(before: Sequence[_Seen | None], here: Sequence[Tensor]) -> bool:
    """Whether one contiguous tensor crosses both times, reshaped at most."""
    if len(before) != 1 or len(here) != 1:
        return False
    old, new = before[0], _Seen.of(here[0])
    return old is not None and new is not None and old.still(new)
