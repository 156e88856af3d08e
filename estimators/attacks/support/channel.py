"""What an attacker receives of a payload, a few samples at a time; repeated transmissions are averaged."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from advisor.batches import batch_size, check_rows
from advisor.support import memory_limit
from advisor.support.preserve import left_as_found, plain_attention
from advisor.support.threads import Spread, few_ahead, side_by_side

if TYPE_CHECKING:
    from advisor.activations import ActivationCache
    from advisor.payload import Payload

COMPACT_BYTES = 2**30
"""Features larger than this in all are kept at half precision in a mapped file instead of memory."""

HELD = 4
"""Part of the memory that they may take at most."""

APART = 2_862_933_555_777_941_757
"""Between the seeds of one transmission and the next."""

Reduce = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


@dataclass(frozen=True, eq=False)
class Channel:
    """The way from an input to what the attacker holds of it.

    Attributes:
        payload: what is sent: a cut of a graph or variant, and its defense.
        repeats: transmissions of each input that the attacker saw; it averages them, so that independent noise of
            variance σ² is left with σ²/repeats.
        walks: activations of other attacks, shared; None: computed anew.
        beyond: index of a deeper cut up to which the cloud carries on what it received, and where it listens; None for
            what was received itself.
    """

    payload: Payload
    repeats: int = 1
    walks: ActivationCache | None = None
    beyond: int | None = None

    @cached_property
    def _edge(self) -> nn.Module | None:
        stop = self.payload.cut.index
        return None if stop == 0 else self.payload.graph.piece(stop, 0)

    def clean(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the edge half computes before the defense, each `[n, ...]`."""
        if self._edge is None:
            return tuple(inputs)
        leaves: list[Any] = pytree.tree_leaves(self._edge(*inputs))
        return tuple(t for t in leaves if isinstance(t, Tensor))

    @property
    def random(self) -> bool:
        """Whether what is received of an input differs from one transmission to the next."""
        return self.payload.defense.random

    def send(
        self, inputs: Sequence[Tensor], seed: int, reduce: Reduce | None = None, into: Store | None = None,
        clean: Store | None = None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """What is received of flat inputs `[n, ...]`, each `[n, ...]`, restored and averaged.

        Args:
            inputs: flat tensors.
            seed: of the defense's randomness.
            reduce: applied to each part before it is kept: the activation is then never held whole.
            into: what is received is added to this, and all that it then holds is returned.
            clean: what the edge half computes before the defense is added to this.
        """
        each = [torch.Generator().manual_seed((seed + number * APART) % 2**63) for number in range(self.repeats)]
        store = Store(len(inputs[0])) if into is None else into
        with left_as_found(), plain_attention(), torch.no_grad(), side_by_side() as spread:
            for part in self._parts(inputs, spread):
                if clean is not None:
                    clean.add(part, halve=True)
                received = self.carried_on(self.defended(part, *each))
                store.add(received if reduce is None else reduce(received), halve=reduce is not None)
        return store.tensors()

    def _parts(self, inputs: Sequence[Tensor], spread: Spread) -> Iterator[tuple[Tensor, ...]]:
        kept = None if self.walks is None else self.walks.at(self.payload.cut, inputs)
        size = batch_size(self.payload.graph)
        parts = zip(*(torch.split(t, size) for t in (kept or inputs)), strict=True)
        return parts if kept else few_ahead(spread, self.clean, parts)

    @cached_property
    def _body(self) -> nn.Module | None:
        return None if self.beyond is None else self.payload.graph.piece(self.beyond, self.payload.cut.index)

    def carried_on(self, received: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What the cloud computes of what it received, up to where it listens; numbers alone where there are any."""
        if self._body is None:
            return received
        leaves: list[Any] = pytree.tree_leaves(self._body(*received))
        tensors = tuple(t for t in leaves if isinstance(t, Tensor))
        return tuple(t for t in tensors if t.is_floating_point()) or tensors

    def defended(self, tensors: Sequence[Tensor], *generators: torch.Generator) -> tuple[Tensor, ...]:
        """What is received of clean tensors, each `[n, ...]`, restored and averaged over the transmissions.

        Args:
            tensors: each `[n, ...]`.
            generators: one for each transmission, so that the draws do not hang on how many samples come at once; or
                one for all.
        """
        first, *others = itertools.islice(itertools.cycle(generators), self.repeats)
        sums = self.payload.transmit(tensors, first)
        for generator in others:
            more = self.payload.transmit(tensors, generator)
            sums = tuple(a + b if a.is_floating_point() else a for a, b in zip(sums, more, strict=True))
        return tuple((z / self.repeats).to(z.dtype) if z.is_floating_point() else z for z in sums)

    def averaged(self, tensors: Sequence[Tensor], generator: torch.Generator) -> tuple[Tensor, ...]:
        """As `defended`, in law: where the mean of transmissions is known to be one after another defense, by that."""
        mean = self.payload.defense.averaged(self.repeats)
        return self.defended(tensors, generator) if mean is None else mean.transmit(tensors, generator)

    def defend(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """The same of one tensor."""
        return self.defended((z,), generator)[0]


class Store:
    """Tensors `[n, ...]` filled part by part; those too large for memory lie in a mapped file at half precision.

    Args:
        rows: n.
    """

    def __init__(self, rows: int) -> None:
        self.rows, self.filled = rows, 0
        self.kept: list[Tensor] = []

    def add(self, parts: Sequence[Tensor], halve: bool = False) -> None:
        """Append the next samples of each tensor.

        Raises:
            DataError: where they have more rows than samples.
        """
        check_rows(parts, self.rows - self.filled)
        if not self.kept:
            self.kept = [_room(self.rows, part, halve) for part in parts]
        for room, part in zip(self.kept, parts, strict=True):
            room[self.filled : self.filled + len(part)] = part
        self.filled += len(parts[0])

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return tuple(self.kept)


def _room(rows: int, part: Tensor, halve: bool) -> Tensor:
    shape = (rows, *part.shape[1:])
    elements = rows * part[0].numel()
    if not halve or elements * part.element_size() <= memory_limit.at_most(COMPACT_BYTES, HELD):
        return torch.empty(shape, dtype=part.dtype)
    with tempfile.TemporaryDirectory(prefix="advisor-") as folder:  # the mapping outlives the file's name
        name = str(Path(folder) / "features")
        return torch.from_file(name, shared=True, size=elements, dtype=torch.float16).reshape(shape)
