"""Derivatives of discrete inputs start at the output of the embeddings: against the exact Jacobian after them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advisor.derivatives.embeddings import looked_up
from advisor.derivatives.tangents import EMBEDDED, tangent_energies
from advisor.estimators.fisher import fisher_information
from advisor.estimators.study.leakage_study import study
from advisor.graph import PartitionGraph
from advisor.operations.subgraphs import subgraph
from advisor.tracing.tracer import trace


class Masked(nn.Module):
    """Tokens and a mask of padding to two classes, with positions added."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(30, 8), nn.Embedding(6, 8)
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        hidden = (1 - mask.float())[:, None, None, :].expand(-1, 2, ids.shape[1], -1).reshape(-1, *[ids.shape[1]] * 2)
        mixed = self.mix(x, x, x, attn_mask=-1e4 * hidden, need_weights=False)[0]
        return self.head(torch.tanh(x + mixed).mean(1))


class Recommender(nn.Module):
    """Two columns of ids, each with a table, to one score."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(40, 5), nn.Embedding(50, 5)
        self.net = nn.Sequential(nn.Linear(10, 7), nn.Tanh(), nn.Linear(7, 1))

    def forward(self, pair: Tensor) -> Tensor:
        return self.net(torch.cat([self.users(pair[:, 0]), self.items(pair[:, 1])], 1))


def texts(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 30, (n, 6), generator=generator), (torch.rand(n, 6, generator=generator) > 0.3).long()


def made(model: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model().eval()


def exact(graph: PartitionGraph, index: int, inputs: tuple[Tensor, ...]) -> Tensor:
    """`[n]` Tr(JᵀJ) with respect to the embeddings, by autograd, sample by sample."""
    starts, data = looked_up(graph), list(graph.placeholders)
    before = subgraph(graph.module, data, starts)
    after = subgraph(graph.module, [*starts, *data], graph.activation_nodes[index])
    traces = []
    for i in range(len(inputs[0])):
        row = tuple(t[i : i + 1] for t in inputs)
        parts = torch.autograd.functional.jacobian(lambda *e, row=row: after(*e, *row)[0], before(*row))
        traces.append(sum(float(p.square().sum()) for p in parts))
    return torch.tensor(traces)


@pytest.mark.parametrize(("model", "inputs"), [(Masked, texts(4)), (Recommender, (torch.randint(0, 40, (4, 2)),))])
def test_energies_behind_the_embeddings_are_those_of_the_exact_jacobian(
    model: type[nn.Module], inputs: tuple[Tensor, ...]
) -> None:
    graph = trace(made(model), tuple(t[:2] for t in inputs))
    found = tangent_energies(graph, inputs, 4000, 1)
    assert {energy.note for energy in found.values()} == {EMBEDDED}
    reached = [i for i in range(1, len(graph.cuts)) if not found[i].problem]
    assert len(graph.cuts) - 1 in reached
    for index in reached[-2:]:
        assert torch.allclose(found[index].energy.mean(0).float(), exact(graph, index, inputs), rtol=0.1)


def test_the_embedding_itself_leaks_as_the_identity_and_ids_have_no_derivative() -> None:
    pairs = torch.randint(0, 40, (8, 2))
    graph = trace(made(Recommender), pairs[:2])
    found = tangent_energies(graph, (pairs,), 3, 0)
    assert "int64" in found[0].problem
    cat = graph.cut("cat").index
    assert fisher_information(found[cat]).value == pytest.approx(1.0)
    assert found[cat].elements == 10


def test_a_study_of_text_has_fisher_columns_that_say_what_they_are() -> None:
    ids, mask = texts(40)
    graph = trace(made(Masked), (ids[:2], mask[:2]))
    profile = study(graph, (ids, mask), only=["fisher", "fisher_snr", "mse_bound"]).profile
    last = graph.cuts[-1].index
    assert 0 < profile["fisher"].values[last] < 10
    assert EMBEDDED in profile["fisher"].method
    assert "int64" in profile["fisher"].why[0]
