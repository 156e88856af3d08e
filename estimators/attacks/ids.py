"""`ids`: which embeddings were looked up (Maeng et al. 2022, section 5.1): users and items, or the tokens of a text.

The embeddings are reconstructed first, by least squares where they can be, else by feature matching; the ids are those
of the rows of the table that come closest, tried out one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, fx, nn

from advisor.derivatives.embeddings import is_lookup
from advisor.errors import CutError, NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.support.guesses import Guesses, Joined
from advisor.estimators.attacks.support.matching import Descent, descend, features, mismatch
from advisor.estimators.attacks.unbiased import ELEMENTS, flat_output, is_affine, jacobian
from advisor.graph import PartitionGraph
from advisor.measures.flat_rows import side_by_side
from advisor.operations.subgraphs import subgraph

BUDGETS = {"quick": Descent(300, 0.1), "strong": Descent(3000, 0.05)}
GUESSES, FEWEST_CANDIDATES = 5, 8
"""Kept; and tried out at each position, more where that costs no more passes than the descent did."""

DEARER, MOST_STARTS = 4, 8
"""Passes of all trials over those of the descent, at most; and how many times they start anew."""

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
class IdRecovery:
    """White box: knows the embedding tables and what follows them on the edge."""

    budgets: tuple[Descent, Descent] = (BUDGETS["quick"], BUDGETS["strong"])
    name: ClassVar[str] = "ids"
    about: ClassVar[str] = "ids of the nearest embeddings: users, items, tokens (Maeng et al. 2022)"
    verifies: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = ThreatModel(
        ("cut and defense", "edge weights"), ("nothing",), ("ask nothing",), "ids"
    )

    def run(self, context: AttackContext) -> Recovered:
        """Reconstruct the embeddings, then find the nearest rows."""
        found = lookups(context.graph)
        if not found:
            raise NotMeasurableError("no integer input of this model is looked up in an embedding")
        edge = self._behind(context, found)
        shapes = [(*_positions(context, look), look.table.shape[1]) for look in found]
        joined = Joined(edge, shapes)
        start = torch.cat([look.table.mean(0).expand(s).reshape(-1) for look, s in zip(found, shapes, strict=True)])
        guesses = Guesses(joined, [look.table for look in found], context.sent)
        if _solvable(joined, context, start):
            x, how = least_squares(joined, context.sent, start), "by least squares"
        else:
            x, how = self._matched(joined, context.part(0, 0.5), start), "by feature matching"
        positions = sum(torch.Size(s[:-1]).numel() for s in shapes)
        if positions > MOST_POSITIONS:
            return _recovered(guesses.near_or_alike(x, GUESSES), how)
        passes = 3 * self.budgets[context.strong].steps // (SWEEPS * positions)
        order = guesses.near_or_alike(x, max(FEWEST_CANDIDATES, passes))
        starts = DEARER * passes // max(g.shape[-1] for g in order)
        order = guesses.tried_out(order, SWEEPS, min(MOST_STARTS, max(1, starts)), context.part(0.5, 0.5))
        return _recovered(order, f"{how}, guesses tried out in turn")

    def _behind(self, context: AttackContext, found: Sequence[Lookup]) -> nn.Module:
        context.edge()  # only who knows the edge half may take it apart
        crossing = context.graph.activation_nodes[context.cut.index]
        if context.cut.index == 0:
            raise NotMeasurableError("the ids themselves cross: there is nothing to reconstruct")
        try:
            return subgraph(context.graph.module, [look.node for look in found], crossing)
        except CutError as error:
            why = error.problem.rstrip(".")
            raise NotMeasurableError(f"the activation depends on more than the embeddings: {why}") from None

    def _matched(self, joined: Joined, context: AttackContext, start: Tensor) -> Tensor:
        found, how = [], self.budgets[context.strong]
        scale = float(start.std()) if len(start) > 1 else 1.0
        pace = Descent(how.steps, how.rate * max(scale, 1e-3))
        for some, part in context.batches(len(context), ROWS):
            sent = [z[some] for z in context.sent]
            x = start.expand(len(sent[0]), -1).clone().requires_grad_()
            file = context.file(f"descent{some.start}")
            descend([x], partial(_error, joined, x, sent), pace, file=file, tick=part.tick)
            found.append(x.detach())
        return torch.cat(found)


def _recovered(guesses: Sequence[Tensor], how: str) -> Recovered:
    return Recovered(ids=torch.cat([g[..., :GUESSES] for g in guesses], 1), notes=(f"embeddings {how}",))


def _error(joined: nn.Module, x: Tensor, sent: Sequence[Tensor]) -> Tensor:
    return mismatch(features(joined, (x,)), sent)


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
    z = side_by_side(t.double() for t in sent)
    with torch.no_grad():
        left = z - flat_output(joined, base).double()
    found: Tensor = start.double() + left @ torch.linalg.pinv(J, rtol=1e-7).T
    return found.float()


def _solvable(joined: Joined, context: AttackContext, start: Tensor) -> bool:
    elements = sum(t[0].numel() for t in context.sent)
    return len(start) * elements <= ELEMENTS and is_affine(joined, tuple(start.shape), context.seed)


def _positions(context: AttackContext, look: Lookup) -> tuple[int, ...]:
    index = context.graph.placeholders.index(look.ids)
    return tuple(context.graph.inputs.tensors[index].shape)
