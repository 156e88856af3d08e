"""`ids`: which embeddings were looked up (Maeng et al. 2022, section 5.1): users and items, or the tokens of a text.

The embeddings are reconstructed first, by least squares where they can be, else by feature matching; the ids are those
of the nearest rows of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

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
        if _solvable(joined, scene, start):
            best, notes = least_squares(joined, scene.sent, start), ("embeddings by least squares",)
            return self._recovered(guessed(joined, best, found), notes)
        passes, positions = 3 * self.budgets[scene.strong].steps, sum(torch.Size(s[:-1]).numel() for s in shapes)
        turns = SWEEPS * CANDIDATES * positions if positions <= MOST_POSITIONS else 0
        share = passes / (passes + turns)
        guesses = guessed(joined, self._matched(joined, scene.part(0, share), start), found)
        if not turns:
            return self._recovered(guesses, ("embeddings by feature matching",))
        guesses = refined(joined, guesses, found, scene.part(share, 1 - share))
        return self._recovered(guesses, ("embeddings by feature matching, guesses tried out in turn",))

    def _recovered(self, guesses: Sequence[Tensor], notes: tuple[str, ...]) -> Recovered:
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
        found, how = [], self.budgets[scene.strong]
        scale = float(start.std()) if len(start) > 1 else 1.0
        pace = Descent(how.steps, how.rate * max(scale, 1e-3))
        for some, part in scene.batches(len(scene), ROWS):
            sent = [z[some] for z in scene.sent]
            x = start.expand(len(sent[0]), -1).clone().requires_grad_()
            file = scene.file(f"descent{some.start}")
            descend([x], partial(_error, joined, x, sent), pace, file=file, tick=part.tick)
            found.append(x.detach())
        return torch.cat(found)


def _error(joined: nn.Module, x: Tensor, sent: Sequence[Tensor]) -> Tensor:
    return mismatch(features(joined, (x,)), sent)


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


def refined(joined: Joined, guesses: Sequence[Tensor], found: Sequence[Lookup], scene: Scene) -> list[Tensor]:
    """The guesses `[n, positions, k]` of each lookup in another order: by the mismatch that each leads to.

    Position after position, the other ones held at their best guess, until nothing changes: the attacker knows that
    only rows of the table were looked up, which descent on embeddings does not.
    """
    order, places = list(guesses), [(w, p) for w, g in enumerate(guesses) for p in range(g.shape[1])]
    for sweep in range(SWEEPS):
        before = order
        for number, (which, position) in enumerate(places):
            retried = partial(_retried, joined, order, found, scene.sent, which, position)
            order = scene.kept(f"sweep{sweep}-{number}", retried)["order"]
            scene.tick((sweep + (number + 1) / len(places)) / SWEEPS)
        if all(torch.equal(a, b) for a, b in zip(before, order, strict=True)):
            break
    return order


def _retried(
    joined: Joined, order: Sequence[Tensor], found: Sequence[Lookup], sent: Sequence[Tensor], which: int, position: int
) -> dict[str, Any]:
    """The guesses, under "order", with those of one position sorted anew."""
    tried, after = order[which][:, position], [g.clone() for g in order]
    errors = torch.stack([_trial(joined, order, found, sent, which, position, c) for c in tried.T], 1)
    after[which][:, position] = tried.gather(1, errors.argsort(dim=1, stable=True))
    return {"order": after}


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


def guessed(joined: Joined, embeddings: Tensor, found: Sequence[Lookup]) -> list[Tensor]:
    """Guesses `[n, positions, k]` of each lookup from embeddings side by side, `[n, sum]`."""
    return [nearest(e, look.table) for e, look in zip(joined.apart(embeddings), found, strict=True)]


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
