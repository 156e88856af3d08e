"""One forward pass over the samples; at each cut a view of the activation is handed to every estimator, then let go."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, fx
from torch.multiprocessing.reductions import StorageWeakRef

from advisor import memory_limit
from advisor.columns import Column
from advisor.cuts import Cut
from advisor.derivatives.jacobian_grams import JacobianGram
from advisor.derivatives.tangents import TangentEnergy
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate, Source
from advisor.finite import all_finite
from advisor.graph import PartitionGraph
from advisor.measures.flat_rows import flat, reals
from advisor.preserve import left_as_found, plain_attention
from advisor.progress import Progress, silence
from advisor.threads import one_thread
from advisor.value_range import ValueRange

PANEL_BYTES = 512 * 2**20
"""Memory for the largest tensor of the forward pass, all samples together."""

HELD = 8
"""Part of the memory that this may take at most."""

PANEL_SAMPLES = 1500
CENTRED_BYTES = 128 * 2**20
"""Activations larger than this are centred part by part: a second one is not held."""

_WAYS = 3
TIME_UP = "the time that was given was up"
"""Why nothing was measured past it."""


Need = Literal["tangents", "jacobian gram"]
"""What an estimator may read beside the activation; it is computed only where one asks for it."""


@dataclass(frozen=True)
class ColumnSpec:
    """What an estimator says of a column before it measures: name, unit, good direction, source, method."""

    name: str
    unit: str
    better: str
    source: Source
    method: str


@dataclass(frozen=True, eq=False)
class Targets:
    """What an attacker wants back, and who plays which role.

    Attributes:
        pixels: `[n, ...]`, the private input, images at a stated reduced size, else as given; in input units.
        images: whether `pixels` are images `[n, c, h, w]`.
        labels: `[n]` int64: true ones, else the model's own predictions.
        labels_are_true: which of the two.
        train, test: indices of what the attacker may learn from, and of what it is scored on.
        classes: number of classes.
        note: how pixels were made from the input.
    """

    pixels: Tensor
    images: bool
    labels: Tensor
    labels_are_true: bool
    train: Tensor
    test: Tensor
    classes: int
    note: str = ""

    @property
    def elements(self) -> int:
        """Elements of one target."""
        return math.prod(self.pixels.shape[1:])

    @cached_property
    def range(self) -> ValueRange:
        """Between which values the targets lie."""
        return ValueRange.of(self.pixels)

    @cached_property
    def ceiling(self) -> Tensor:
        """`[test]` squared error per element of predicting the attacker's mean: what NMSE divides by, averaged."""
        mean = self.pixels[self.train].mean(0)
        return (self.pixels[self.test] - mean).square().flatten(1).mean(1)


@dataclass(frozen=True, eq=False)
class CutView:
    """What an estimator sees at one cut, all samples at once.

    Attributes:
        cut: where.
        tensors: the activation, each `[n, ...]`, as the cloud receives it.
        targets: what an attacker wants.
        wire_step: rounding step of what is sent, in units of z.
        seed: for estimators that draw.
        energy: squared length of forward-mode tangents at this cut, or None where no tangents were asked for.
        jacobian_gram: their inner products along the inputs' leading directions, or None likewise.
        gaussian_variance: of the Gaussian noise that a defense adds, in units of z²; 0: it adds none.
    """

    cut: Cut
    tensors: tuple[Tensor, ...]
    targets: Targets
    wire_step: float
    seed: int
    energy: TangentEnergy | None = None
    jacobian_gram: JacobianGram | None = None
    gaussian_variance: float = 0.0

    @property
    def noise_variance(self) -> float:
        """Variance of the noise that bounds rest on: a defense's Gaussian noise, else the wire's rounding, step²/12."""
        return self.gaussian_variance or self.wire_step**2 / 12

    @cached_property
    def z(self) -> Tensor:
        """All that crosses as one matrix `[n, D]`, float32.

        Raises:
            NotMeasurableError: when it holds NaN or infinities, does not lead with the batch, or is too fine for that.
        """
        rows = len(self.targets.labels)
        if any(t.dim() == 0 or len(t) != rows for t in self.tensors):
            raise NotMeasurableError("an output does not lead with the batch")
        parts = [flat(t) for t in reals(self.tensors)]
        z = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        if not all_finite(z):
            raise NotMeasurableError("the activation holds NaN or infinities")
        return z

    @cached_property
    def gram(self) -> Tensor:
        """Inner products of the centred samples, `[n, n]` float64."""
        if self.z.nbytes <= CENTRED_BYTES:
            centred = self.z - self.z.mean(0)
            return (centred @ centred.T).double()
        total = self.z.new_zeros(len(self.z), len(self.z), dtype=torch.float64)
        for part in torch.split(self.z, CENTRED_BYTES // (4 * len(self.z)), 1):
            centred = part - part.mean(0)
            total += (centred @ centred.T).double()
        return total

    @cached_property
    def distances(self) -> Tensor:
        """Euclidean distances between samples, `[n, n]` float64."""
        square = self.gram.diagonal()
        return (square[:, None] + square[None, :] - 2 * self.gram).clamp_min(0).sqrt()


class Estimator(Protocol):
    """One leakage estimator: declares its columns and what it needs, and measures at one cut."""

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns it measures."""

    @property
    def needs(self) -> frozenset[Need]:
        """What it reads beside the activation: "tangents" is `view.energy`, "jacobian gram" `view.jacobian_gram`."""

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure every declared column at one cut.

        Raises:
            NotMeasurableError: when this cut cannot be measured; the message says why.
        """


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


def panel_size(graph: PartitionGraph, available: int, cut: Cut | None = None) -> int:
    """How many samples one forward pass takes at once: bounded by memory and by what the estimators can use.

    Where they are for one cut alone, only its activation has to fit: a pass to there is made in parts.
    """
    fitting = rows_in_memory(graph)
    if cut is not None:
        fitting = max(fitting, int(memory_limit.at_most(PANEL_BYTES, HELD) / max(1, cut.bytes)))
    return max(2, min(available, PANEL_SAMPLES, fitting))


def rows_in_memory(graph: PartitionGraph) -> int:
    """How many samples have their largest tensor within `PANEL_BYTES`."""
    largest = max(graph.value_bytes(node) for node in graph.data_nodes) or 1
    return int(memory_limit.at_most(PANEL_BYTES, HELD) / largest)


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
