"""The hull against all ways to divide small random DAGs, one by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advisor.cutting.hull import Division, hull
from advisor.cutting.ordering import division_of, node_work
from advisor.tracing.tracer import trace


@st.composite
def divisions(draw: st.DrawFn) -> Division:
    inputs, inner = draw(st.integers(1, 2)), draw(st.integers(1, 7))
    count = inputs + inner
    users: list[list[int]] = [[] for _ in range(count)]
    for node in range(inputs, count):
        for source in draw(st.sets(st.integers(0, node - 1), min_size=1, max_size=3)):
            users[source].append(node)
    loose = {i for i in range(count) if not users[i]}
    sizes = draw(st.lists(st.integers(0, 20), min_size=count, max_size=count))
    blocked = draw(st.sets(st.integers(inputs, count - 1), max_size=2)) - loose
    work = draw(st.lists(st.integers(1, 20), min_size=inner, max_size=inner))
    return Division(
        users, frozenset(loose), [None if i in blocked else size for i, size in enumerate(sizes)],
        [0] * inputs + work, inputs,
    )  # fmt: skip


def legal_edges(division: Division) -> list[frozenset[int]]:
    """All sets that hold the inputs and whatever their members read, and send only what may be sent: one by one."""
    count = len(division.users)
    sources = [{i for i in range(count) if node in division.users[i]} for node in range(count)]
    found = []
    for mask in range(2 ** (count - division.inputs)):
        edge = {*range(division.inputs), *(division.inputs + b for b in range(count) if mask >> b & 1)}
        closed = all(sources[node] <= edge for node in edge)
        sent = [i for i in edge if i in division.returned or any(user not in edge for user in division.users[i])]
        if closed and all(division.sizes[i] is not None for i in sent):
            found.append(frozenset(edge))
    return found


def lower_hull(points: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Corners of the lower convex hull between the leftmost and the rightmost point (Andrew 1979)."""
    corners: list[tuple[int, int]] = []
    for point in sorted(points):
        if corners and corners[-1][0] == point[0]:
            continue
        while len(corners) > 1 and slope(corners[-2], corners[-1]) >= slope(corners[-1], point):
            corners.pop()
        corners.append(point)
    return corners


def slope(a: tuple[int, int], b: tuple[int, int]) -> Fraction:
    return Fraction(b[1] - a[1], b[0] - a[0])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(divisions())
def test_the_hull_is_that_of_all_divisions(division: Division) -> None:
    found = hull(division)
    assert all(a < b for a, b in pairwise(found))
    legal = legal_edges(division)
    assert set(found[1:-1]) <= set(legal)
    points = {(division.amount(edge), division.bytes(edge)) for edge in (*legal, found[0], found[-1])}
    assert [(division.amount(edge), division.bytes(edge)) for edge in found] == lower_hull(points)


class Towers(nn.Module):
    """Two towers of which the wide one shrinks early: the cheapest cut goes through different depths."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.deep = nn.Linear(100, 2), nn.Linear(3, 50), nn.Linear(50, 50)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.wide(a).sum(1, keepdim=True) + self.deep(self.narrow(b)).tanh()


def test_the_hull_passes_where_each_tower_is_smallest() -> None:
    graph = trace(Towers().eval(), (torch.rand(2, 100), torch.rand(2, 3)), max_tensors=2)
    division = division_of(graph, graph.returned, graph.sendable)
    assert [division.bytes(edge) for edge in hull(division)] == [4 * 103, 4 * 5, 4 * 4, 4 * 50]
    assert "b+sum" in [cut.name for cut in graph.cuts]


def test_work_counts_multiplications_and_bytes_written() -> None:
    graph = trace(nn.Sequential(nn.Linear(5, 7), nn.ReLU()).eval(), torch.rand(2, 5))
    linear, relu = (work for node, work in node_work(graph).items())
    assert linear == 2 * 2 * 5 * 7 + 2 * 7 * 4 + 1
    assert relu == 2 * 7 * 4 + 1


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_keeps_its_order(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 9, (6,), generator=generator).tolist()
    chain = Division([[i + 1] for i in range(5)] + [[]], frozenset({5}), sizes, [0, *range(1, 6)], 1)
    assert all(edge == frozenset(range(len(edge))) for edge in hull(chain))
