"""Cuts: legal, none missed, named as people name them; the errors of `cut` and `split`."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from advisor.cuts import also_an_index
from advisor.errors import CutError
from advisor.graph import PartitionGraph
from advisor.tracing.tracer import trace
from tests.models import ZOO, Residual, call, equal, traced

NAMES = list(ZOO)


@pytest.mark.parametrize("name", NAMES)
def test_cuts_are_the_expected_ones(name: str) -> None:
    assert tuple(cut.name for cut in traced(name).cuts) == ZOO[name].cuts


@pytest.mark.parametrize("name", NAMES)
def test_cuts_are_the_same_from_run_to_run(name: str) -> None:
    again = trace(ZOO[name].model(), ZOO[name].inputs(2))
    assert again.cuts == traced(name).cuts
    assert [tuple(again.edge_parameters(c)) for c in again.cuts] == [
        tuple(traced(name).edge_parameters(c)) for c in again.cuts
    ]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_unique_and_indices_count_up(name: str) -> None:
    cuts = traced(name).cuts
    assert len({cut.name for cut in cuts}) == len(cuts)
    assert [cut.index for cut in cuts] == list(range(len(cuts)))


def separates(graph: PartitionGraph, removed: fx.Node) -> bool:
    """The definition, slowly: without this node, no input reaches any output through values."""
    data = set(graph.data_nodes)
    seen, stack = set(), [p for p in graph.placeholders if p in data and p is not removed]
    while stack:
        node = stack.pop()
        if node in graph.results:
            return False
        for user in node.users:
            if user in data and user not in seen and user is not removed:
                seen.add(user)
                stack.append(user)
    return True


@pytest.mark.parametrize("name", NAMES)
def test_no_single_tensor_cut_is_missed_and_none_is_illegal(name: str) -> None:
    graph = traced(name)
    wanted = {n for n in graph.data_nodes if separates(graph, n) and graph.spec(n) is not None}
    found = {nodes[0] for nodes in graph.activation_nodes[1:-1]}
    ends = {nodes[0] for nodes in (graph.activation_nodes[0], graph.activation_nodes[-1]) if len(nodes) == 1}
    assert found == wanted - ends


@pytest.mark.parametrize("name", NAMES)
def test_specs_are_those_of_the_tensors_that_cross(name: str) -> None:
    graph, x = traced(name), ZOO[name].inputs(3)
    for cut in graph.cuts:
        crossing = call(graph.split(cut)[0], x)
        tensors = crossing if isinstance(crossing, tuple) else (crossing,)
        assert [tuple(t.shape[1:]) for t in tensors] == [s.shape for s in cut.tensors]
        assert [str(t.dtype) for t in tensors] == [f"torch.{s.dtype}" for s in cut.tensors]
        assert cut.bytes == sum(t[0].numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("name", NAMES)
def test_running_the_graph_is_running_the_model(name: str) -> None:
    x = ZOO[name].inputs(2)
    expected = call(ZOO[name].model(), ZOO[name].inputs(2))
    assert equal(traced(name)(x), expected)
    assert equal(x, ZOO[name].inputs(2)), "the input was written to"


@pytest.mark.parametrize("name", NAMES)
def test_pieces_chain_to_the_model(name: str) -> None:
    graph = traced(name)
    x = graph.flat(ZOO[name].inputs(2))
    carried = tuple(v for p, v in zip(graph.placeholders, x, strict=True) if p in graph.activation_nodes[0])
    for index in range(1, len(graph.cuts)):
        result = graph.piece(index)(*carried)
        carried = result if isinstance(result, tuple) else (result,)
    flat = graph.run(x)
    assert all(any(torch.equal(c, f) for f in flat if isinstance(f, torch.Tensor)) for c in carried)


@pytest.mark.parametrize("name", NAMES)
def test_pieces_add_up_to_the_edge(name: str) -> None:
    graph = traced(name)
    for cut in graph.cuts:
        pieces = [node for i in range(cut.index + 1) for node in graph.piece_nodes(i)]
        assert len(pieces) == len(set(pieces))
        assert set(pieces) == set(graph.edge_nodes(cut))
        assert list(graph.edge_nodes(cut)) == [n for n in graph.module.graph.nodes if n in set(pieces)]


def test_repeated_blocks_are_closed_by_their_last_cut() -> None:
    graph = trace(nn.Sequential(Residual(), nn.Conv2d(2, 3, 1)).eval(), torch.zeros(2, 3, 5, 5))
    assert [cut.name for cut in graph.cuts] == ["input", "0.stem", "0/add", "0/relu", "0.head", "output"]
    assert {cut.name: cut.block for cut in graph.cuts}["0.head"] == "0"


@pytest.mark.parametrize(
    ("wanted", "index"), [("act", 3), (3, 3), (-1, 6), ("output", 6), ("head", 6), ("input", 0), (torch.tensor(2), 2)]
)
def test_a_cut_is_found_by_name_index_or_itself(wanted: object, index: int) -> None:
    graph = traced("chain")
    assert graph.cut(wanted).index == index  # type: ignore[arg-type]
    assert graph.cut(graph.cut(wanted)).index == index  # type: ignore[arg-type]


def test_digits_are_a_name_where_a_cut_has_it_and_else_an_index() -> None:
    graph = trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU()).eval(), torch.zeros(2, 4))
    assert [cut.name for cut in graph.cuts] == ["input", "0", "1", "2", "output"]
    assert [graph.cut(wanted).index for wanted in ("0", "2", 2, "4")] == [1, 3, 2, 4]
    assert also_an_index(graph.cuts, "4", graph.cut("4")) is None
    other = also_an_index(graph.cuts, "2", graph.cut("2"))
    assert other is not None
    assert (other.index, other.name) == (2, "1")
    with pytest.raises(CutError, match="numbered 0 to 4"):
        graph.cut("7")


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(CutError, match=r"no legal cut 'covn'\. Nearest: conv"):
        traced("chain").split("covn")


def test_unknown_names_without_a_neighbour_list_all() -> None:
    with pytest.raises(CutError, match=r"Legal cuts: input, conv, bn"):
        traced("chain").split("zzzzzzzzzzzz")


def test_ambiguous_names_list_the_candidates() -> None:
    with pytest.raises(CutError, match=r"'encoder' fits several cuts: encoder/add, encoder\.norm1, .*Name one of them"):
        traced("attention").split("encoder")


def test_numbers_out_of_range_say_the_range() -> None:
    with pytest.raises(CutError, match=r"no cut 7\. Cuts are numbered 0 to 6"):
        traced("chain").split(7)
    for text in ("9" * 5000, "²", "٢"):
        with pytest.raises(CutError, match="no legal cut"):
            traced("chain").split(text)


def test_tail_must_lie_behind_the_head() -> None:
    with pytest.raises(CutError, match="'conv' does not lie after the head"):
        traced("chain").split("act", "conv")
    with pytest.raises(CutError, match="does not lie after"):
        traced("chain").split("act", "act")


def test_sizes_that_cross_are_bytes_of_one_sample() -> None:
    cuts = {cut.name: cut for cut in traced("half").cuts}
    assert cuts["conv"].bytes == 4 * 6 * 6 * 2
    assert cuts["flatten"].elements == 16


def test_values_of_views_take_no_memory() -> None:
    graph = traced("chain")
    sizes = {
        cut.name: graph.value_bytes(nodes[0]) for cut, nodes in zip(graph.cuts, graph.activation_nodes, strict=True)
    }
    assert sizes == {"input": 0, "conv": 576, "bn": 576, "act": 576, "pool": 64, "flatten": 0, "output": 20}


def test_the_recorded_inputs_trace_the_same_architecture_again() -> None:
    for name in ("chain", "keywords", "nested", "tokens", "hard_batch"):
        graph = trace(ZOO[name].model(), traced(name).inputs)
        assert [cut.name for cut in graph.cuts] == list(ZOO[name].cuts)


def test_pieces_do_not_grow_with_depth() -> None:
    """A chain of n blocks has n times the cuts of one, and its pieces stay as small as they were."""
    for depth in (2, 8):
        blocks = [nn.Sequential(Residual(), nn.Conv2d(2, 3, 1)) for _ in range(depth)]
        graph = trace(nn.Sequential(*blocks).eval(), torch.zeros(2, 3, 5, 5))
        assert len(graph.cuts) == 1 + 5 * depth
        assert max(len(graph.piece_nodes(i)) for i in range(len(graph.cuts))) == 4
