"""Guesses of the ids that were looked up: rows that come close to reconstructed embeddings, then tried out in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from advisor.estimators.attacks.base import AttackContext
from advisor.estimators.attacks.support.matching import features, mismatch
from advisor.support.preserve import plain_attention

ROWS = 64
"""Samples whose mismatch is computed at once."""

GAIN = 1e-6
"""Share of the mismatch that counts: the same guesses are not better for rounding."""

ELEMENTS = 2**25
"""Distances to rows of a table that are computed at once."""


class Joined(nn.Module):
    """The edge half after its embeddings, as a function of all of them side by side, `[n, sum]`."""

    def __init__(self, body: nn.Module, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.body, self.shapes = body, shapes

    def forward(self, x: Tensor) -> object:
        """The activation."""
        return self.body(*self.apart(x))

    def apart(self, x: Tensor) -> list[Tensor]:
        """The embeddings, each `[n, ...positions, width]`."""
        sizes = [torch.Size(s).numel() for s in self.shapes]
        return [t.reshape(len(x), *s) for t, s in zip(torch.split(x, sizes, 1), self.shapes, strict=True)]


@dataclass(frozen=True, eq=False)
class Guesses:
    """Which rows of the tables may have been looked up; guesses are `[n, positions, k]` for each table, best first.

    Attributes:
        joined: from embeddings to the activation.
        tables: `[rows, width]` of each lookup.
        sent: what was received, each `[n, ...]`.
    """

    joined: Joined
    tables: Sequence[Tensor]
    sent: Sequence[Tensor]

    def near_or_alike(self, x: Tensor, count: int) -> list[Tensor]:
        """At most `count` rows near embeddings `[n, sum]` or alike in direction; first those that fit a sample better.

        Embeddings of another length or mean may lead to the same tensor, where a normalisation follows: descent then
        ends far from the row that was looked up, in its direction.
        """
        pairs = list(zip(self.joined.apart(x), self.tables, strict=True))
        near = [nearest(e, table, count) for e, table in pairs]
        alike = [nearest(directions(e), directions(table), count) for e, table in pairs]
        better = (self._misfit_of_best(near) <= self._misfit_of_best(alike))[:, None, None]
        return [
            merged(torch.where(better, a, b), torch.where(better, b, a), len(table))
            for a, b, table in zip(near, alike, self.tables, strict=True)
        ]

    def tried_out(self, order: list[Tensor], sweeps: int, starts: int, context: AttackContext) -> list[Tensor]:
        """The guesses in another order: by the mismatch that each leads to.

        Position after position, the other ones held at their best guess: the attacker knows that only rows of the table
        were looked up, which descent on embeddings does not. As that may end where no single change helps, it starts
        again from the second best guesses and so on, until none of the samples gains by it.
        """
        best = self._swept(order, sweeps, "start0", context.part(0, 1 / starts))
        least = self._misfit_of_best(best)
        for start in range(1, starts):
            turned = [g.roll(-start, -1) for g in order]
            found = self._swept(turned, sweeps, f"start{start}", context.part(start / starts, 1 / starts))
            better = self._misfit_of_best(found) < (1 - GAIN) * least
            if not better.any():
                break
            best = [torch.where(better[:, None, None], a, b) for a, b in zip(found, best, strict=True)]
            least = self._misfit_of_best(best)
        return best

    def _swept(self, order: list[Tensor], sweeps: int, name: str, context: AttackContext) -> list[Tensor]:
        """All positions, one after the other, so many times or until nothing changes."""
        places = [(which, p) for which, guesses in enumerate(order) for p in range(guesses.shape[1])]
        for sweep in range(sweeps):
            before = order
            for number, (which, position) in enumerate(places):
                made = context.kept(f"{name}-sweep{sweep}-{number}", partial(self._sorted, order, which, position))
                order = made["order"]
                context.tick((sweep + (number + 1) / len(places)) / sweeps)
            if all(torch.equal(a, b) for a, b in zip(before, order, strict=True)):
                break
        return order

    def _sorted(self, order: Sequence[Tensor], which: int, position: int) -> dict[str, Any]:
        """With the guesses of one position sorted anew."""
        tried, after, errors = order[which][:, position], [g.clone() for g in order], []
        for candidate in tried.T:
            rows = [g[..., 0].clone() for g in order]
            rows[which][:, position] = candidate
            errors.append(self._misfit(rows))
        after[which][:, position] = tried.gather(1, torch.stack(errors, 1).argsort(dim=1, stable=True))
        return {"order": after}

    def _misfit_of_best(self, order: Sequence[Tensor]) -> Tensor:
        """`[n]` mismatch of the best guesses."""
        return self._misfit([g[..., 0] for g in order])

    def _misfit(self, rows: Sequence[Tensor]) -> Tensor:
        """`[n]` mismatch of one id `[n, positions]` for each place."""
        found = []
        for some in torch.split(torch.arange(len(rows[0])), ROWS):
            x = torch.cat([table[ids[some]].flatten(1) for table, ids in zip(self.tables, rows, strict=True)], 1)
            with torch.no_grad(), plain_attention():
                found.append(mismatch(features(self.joined, (x,)), [z[some] for z in self.sent]))
        return torch.cat(found)


def nearest(embeddings: Tensor, table: Tensor, count: int) -> Tensor:
    """`[n, positions, k]` rows of the table nearest to `[n, ..., width]`, nearest first."""
    flat, count = embeddings.reshape(len(embeddings), -1, table.shape[1]), min(count, len(table))
    parts = [torch.cdist(flat[some], table).topk(count, largest=False).indices for some in _few(flat, table)]
    return torch.cat(parts)


def merged(first: Tensor, second: Tensor, rows: int) -> Tensor:
    """Guesses `[n, positions, k]` of two lists in turn, none twice, of a table of so many rows."""
    count, turn = first.shape[-1], torch.arange(first.shape[-1], dtype=torch.int32)
    parts = []
    for some in _few(first, torch.empty(rows, 0)):
        a, b = first[some], second[some]
        turns = torch.full((*a.shape[:-1], rows), 2 * count, dtype=torch.int32)
        turns.scatter_(-1, b, 2 * turn.expand_as(b) + 1)
        turns.scatter_reduce_(-1, a, 2 * turn.expand_as(a), "amin")
        parts.append(turns.topk(count, largest=False).indices)
    return torch.cat(parts)


def _few(flat: Tensor, table: Tensor) -> Iterator[slice]:
    """Slices of samples `[n, positions, ...]`, so that there is room for a number for each position and row."""
    size = max(1, ELEMENTS // max(1, flat.shape[1] * len(table)))
    return (slice(first, first + size) for first in range(0, len(flat), size))


def directions(z: Tensor) -> Tensor:
    """`[..., width]` less their mean, of unit length."""
    return nn.functional.normalize(z - z.mean(-1, keepdim=True), dim=-1)
