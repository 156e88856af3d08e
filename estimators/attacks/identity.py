"""`ids`: which embeddings were looked up (Maeng et al. 2022, section 5.1): users and items, or the tokens of a text.

The embeddings are reconstructed first, by least squares where they can be, else by feature matching; the ids are those
of the nearest rows of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, fx, nn

from advisor.cutting.halves import subgraph
from advisor.derivatives.embeddings import is_lookup
from advisor.errors import CutError
from advisor.estimators.attacks.base import Recovered, Scene, ThreatModel
from advisor.estimators.attacks.matching import Descent, descend, features, mismatch
from advisor.estimators.attacks.unbiased import ELEMENTS, flat_output, is_affine, jacobian
from advisor.graph import PartitionGraph
from advisor.preserve import plain_attention
from advisor.sweep import NotMeasurableError

BUDGETS = {"quick": Descent(300, 0.1), "strong": Descent(3000, 0.05)}
GUESSES, CANDIDATES = 5, 8
SWEEPS = 2
MOST_POSITIONS = 64
"""Of ids in a sample, for which guesses are tried out one by one."""

ROWS = 64


@dataclass(frozen=True, eq=False)
class Lookup:
    """One embedding of the edge half.

    Attributes:
        node: the operation.
        ids: the input whose ids it looks up.
        table: `[rows, width]`.
    """

    node: fx.Node
    ids: fx.Node
    table: Tensor


@dataclass(frozen=True)
class Identity:
    """White box: knows the embedding tables and what follows them on the edge."""

    budgets: tuple[Descent, Descent] = (BUDGETS["quick"], BUDGETS["strong"])
    name: ClassVar[str] = "ids"
    about: ClassVar[str] = "ids of the nearest embeddings: users, items, tokens (Maeng et al. 2022)"
    threat: ClassVar[ThreatModel] = ThreatModel(
        ("cut and defense", "edge weights"), ("nothing",), ("ask nothing",), "ids"
    )

    def run(self, scene: Scene) -> Recovered:
        """Reconstruct the embeddings, then find the nearest rows."""
        found = lookups(scene.graph)
        if not found:
            raise NotMeasurableError("no integer input of this model is looked up in an embedding")
        edge = self._behind(scene, found)
        shapes = [(*_positions(scene, look), look.table.shape[1]) for look in found]
        joined = Joined(edge, shapes)
        start = torch.cat([look.table.mean(0).expand(s).reshape(-1) for look, s in zip(found, shapes, strict=True)])
        best = least_squares(joined, scene.sent, start) if _solvable(joined, scene, start) else None
        notes = ("embeddings by least squares",)
        if best is None:
            best, notes = self._matched(joined, scene, start), ("embeddings by feature matching",)
        guesses = [nearest(e, look.table) for e, look in zip(joined.apart(best), found, strict=True)]
        if notes[0].endswith("matching") and sum(g.shape[1] for g in guesses) <= MOST_POSITIONS:
            guesses, notes = refined(joined, guesses, found, scene.sent), (f"{notes[0]}, guesses tried out in turn",)
        return Recovered(ids=torch.cat([g[..., :GUESSES] for g in guesses], 1), notes=notes)

    def _behind(self, scene: Scene, found: Sequence[Lookup]) -> nn.Module:
        scene.edge()  # only who knows the edge half may take it apart
        crossing = scene.graph.crossings[scene.cut.index]
        if scene.cut.index == 0:
            raise NotMeasurableError("the ids themselves cross: there is nothing to reconstruct")
        try:
            return subgraph(scene.graph.module, [look.node for look in found], crossing)
        except CutError as error:
            raise NotMeasurableError(f"what crosses depends on more than the embeddings: {error.problem}") from None

    def _matched(self, joined: Joined, scene: Scene, start: Tensor) -> Tensor:
        parts, how = [], self.budgets[scene.strong]
        scale = float(start.std()) if len(start) > 1 else 1.0
        for index in torch.split(torch.arange(len(scene)), ROWS):
            sent = [z[index] for z in scene.sent]
            x = start.expand(len(index), -1).clone().requires_grad_()
            pace = Descent(how.steps, how.rate * max(scale, 1e-3))
            descend([x], partial(_error, joined, x, sent), pace, tick=scene.tick)
            parts.append(x.detach())
        return torch.cat(parts)


def _error(joined: nn.Module, x: Tensor, sent: Sequence[Tensor]) -> Tensor:
    return mismatch(features(joined, (x,)), sent).sum()


class Joined(nn.Module):
    """The edge half behind its embeddings, as a function of all of them side by side, `[n, sum]`."""

    def __init__(self, body: nn.Module, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.body, self.shapes = body, shapes

    def forward(self, x: Tensor) -> object:
        """What crosses."""
        return self.body(*self.apart(x))

    def apart(self, x: Tensor) -> list[Tensor]:
        """The embeddings, each `[n, ...positions, width]`."""
        sizes = [torch.Size(s).numel() for s in self.shapes]
        return [t.reshape(len(x), *s) for t, s in zip(torch.split(x, sizes, 1), self.shapes, strict=True)]


def lookups(graph: PartitionGraph) -> list[Lookup]:
    """Embeddings of integer inputs, in the order of these."""
    return [
        Lookup(user, source, graph.constant(user.args[0]).detach().float())  # type: ignore[arg-type]
        for source in graph.placeholders
        for user in source.users
        if is_lookup(user) and user.args[1] is source
    ]


def least_squares(joined: Joined, sent: Sequence[Tensor], start: Tensor) -> Tensor:
    """`[n, d]` solutions of least norm about `start` for an affine body."""
    base, J = start[None], jacobian(joined, start[None])
    z = torch.cat([t.flatten(1).double() for t in sent], 1)
    with torch.no_grad():
        left = z - flat_output(joined, base).double()
    found: Tensor = start.double() + left @ torch.linalg.pinv(J, rtol=1e-7).T
    return found.float()


def refined(joined: Joined, guesses: Sequence[Tensor], found: Sequence[Lookup], sent: Sequence[Tensor]) -> list[Tensor]:
    """The guesses `[n, positions, k]` of each lookup in another order: by the mismatch that each leads to.

    Position after position, the other ones held at their best guess: the attacker knows that only rows of the table
    were looked up, which descent on embeddings does not.
    """
    order = [g.clone() for g in guesses]
    for _ in range(SWEEPS):
        for which, position in [(w, p) for w, g in enumerate(order) for p in range(g.shape[1])]:
            tried = order[which][:, position]
            errors = torch.stack([_trial(joined, order, found, sent, which, position, c) for c in tried.T], 1)
            order[which][:, position] = tried.gather(1, errors.argsort(dim=1, stable=True))
    return order


def _trial(
    joined: Joined, order: Sequence[Tensor], found: Sequence[Lookup], sent: Sequence[Tensor], which: int,
    position: int, candidate: Tensor,
) -> Tensor:  # fmt: skip
    """`[n]` mismatch with one position's id replaced."""
    rows = [g[..., 0].clone() for g in order]
    rows[which][:, position] = candidate
    x = torch.cat([look.table[r].flatten(1) for look, r in zip(found, rows, strict=True)], 1)
    with torch.no_grad(), plain_attention():
        return mismatch(features(joined, (x,)), sent)


def nearest(embeddings: Tensor, table: Tensor) -> Tensor:
    """`[n, positions, k]` rows of the table nearest to `[n, ..., width]`, nearest first."""
    flat = embeddings.reshape(len(embeddings), -1, table.shape[1])
    count = min(CANDIDATES, len(table))
    parts = [torch.cdist(e, table).topk(count, largest=False).indices for e in torch.split(flat, ROWS)]
    return torch.cat(parts)


def _solvable(joined: Joined, scene: Scene, start: Tensor) -> bool:
    elements = sum(t[0].numel() for t in scene.sent)
    return len(start) * elements <= ELEMENTS and is_affine(joined, tuple(start.shape), scene.seed)


def _positions(scene: Scene, look: Lookup) -> tuple[int, ...]:
    index = scene.graph.placeholders.index(look.ids)
    return tuple(scene.graph.inputs.tensors[index].shape)
