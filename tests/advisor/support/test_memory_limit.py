"""What a run may take of memory: stated or free, followed by chunks and caches, and survived where it ends."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor import batches
from advisor.activations import Activations
from advisor.batches import batch_size, carried, first_scores, in_parts
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.panel import panel_size
from advisor.payload import Payload
from advisor.support import memory_limit

GIB = 2**30


@pytest.fixture(scope="module")
def graph() -> PartitionGraph:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 5)).eval()
    return advisor.trace(net, torch.rand(2, 3, 8, 8))


class Ends(nn.Module):
    """Takes so many samples, and says what torch says of more."""

    def __init__(self, most: int, error: Exception | None = None) -> None:
        super().__init__()
        self.most, self.sizes = most, list[int]()
        self.error = error or RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"
        )

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise self.error
        return 2 * x


@pytest.mark.parametrize(
    "error", [None, MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")]
)
def test_where_memory_ends_samples_are_taken_fewer_at_a_time_and_it_is_said_once(error: Exception | None) -> None:
    module, x = Ends(5, error), torch.rand(40, 3)
    with memory_limit.within(None) as said:
        (found,) = batches.gathered(in_parts(module, (x,), 16), 40)
        batches.gathered(in_parts(module, (x,), 16), 40)
    assert torch.equal(found, 2 * x)
    assert module.sizes[:4] == [16, 8, 4, 4]
    assert said == [
        "Memory ran out: samples were then taken 8 at a time.",
        "Memory ran out: samples were then taken 4 at a time.",
    ]


def test_memory_that_ends_at_one_sample_is_one_line() -> None:
    with pytest.raises(AdvisorError, match="Memory ends at a single sample of this model"):
        list(in_parts(Ends(0), (torch.rand(8, 3),), 4))


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(in_parts(Ends(2, RuntimeError("shapes differ")), (torch.rand(8, 3),), 4))


def test_fewer_samples_at_a_time_give_the_same_numbers(graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(70, 3, 8, 8)
    whole = carried(graph, (x,), 0, 2)[0], first_scores(graph, (x,))
    monkeypatch.setattr(batches, "BATCH", 7)
    few = carried(graph, (x,), 0, 2)[0], first_scores(graph, (x,))
    for one, other in zip(whole, few, strict=True):
        assert one is not None
        assert torch.allclose(one, other, atol=1e-6)


def test_chunks_panel_and_caches_follow_the_stated_memory(
    graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert panel_size(graph, 4000) == 1500
    assert batch_size(graph) == batches.BATCH
    monkeypatch.setattr(memory_limit, "LEAST", 1)
    largest = 8 * 64 * 4
    with memory_limit.within(16 * 5 * largest):
        assert batch_size(graph) == 5
        assert panel_size(graph, 4000) == 10
        kept = Activations(graph, (torch.rand(20, 3, 8, 8),))
        kept.at(graph.cuts[1])
        assert kept.at(graph.cuts[2])[0] is kept.at(graph.cuts[2])[0]
        assert len(kept._kept) == 1
    with memory_limit.within(1):
        assert batch_size(graph) == 1


def test_a_batch_of_large_maps_stays_in_the_caches(graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 8 * 64 * 4
    monkeypatch.setattr(batches, "IN_CACHE", 3.5 * largest)
    assert batch_size(graph) == 3
    monkeypatch.setattr(batches, "IN_CACHE", largest / 2)
    assert batch_size(graph) == 1


def test_a_payload_is_judged_in_parts_as_it_is_whole(graph: PartitionGraph) -> None:
    x, payload = torch.rand(48, 3, 8, 8), Payload.of(graph, 2, "int8")
    whole, parts = payload.scores(carried(graph, (x,), 0, 2), 0), payload.scores_of((x,), 0, 16)
    assert whole is not None
    assert parts is not None
    assert torch.allclose(whole, parts, atol=1e-6)


def test_noise_in_parts_is_independent_noise_of_the_same_size(graph: PartitionGraph) -> None:
    x, payload = torch.rand(1, 3, 8, 8).expand(600, 3, 8, 8), Payload.of(graph, 2, "gaussian:sigma=0.5")
    bare = first_scores(graph, (x,))
    spreads = [
        (found - bare).std(0)
        for found in (payload.scores(carried(graph, (x,), 0, 2), 0), payload.scores_of((x,), 0, 32))
        if found is not None and bare is not None
    ]
    assert torch.allclose(spreads[0], spreads[1], rtol=0.15)


@pytest.mark.parametrize(("group", "wanted"), [(("max", "5"), None), (("1000", "400"), 600), (("1000", "1400"), 0)])
def test_a_container_has_what_its_limit_leaves(
    group: tuple[str, str], wanted: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name, value in zip(("max", "current"), group, strict=True):
        (tmp_path / f"memory.{name}").write_text(value + "\n")
    monkeypatch.setattr(memory_limit, "GROUP", tmp_path)
    monkeypatch.setattr(memory_limit, "_of_the_system", lambda: 2**40)  # what is free changes from moment to moment
    assert memory_limit._of_the_group() == wanted
    assert memory_limit.available() == (2**40 if wanted is None else wanted)


def test_too_little_memory_is_one_line() -> None:
    with pytest.raises(AdvisorError, match="100 MiB of memory are too little"), memory_limit.within(100 * 2**20):
        pass


def test_what_is_free_is_the_limit_unless_another_is_stated() -> None:
    assert 0 < memory_limit.limit() < 2**50
    with memory_limit.within(3 * GIB):
        assert memory_limit.limit() == 3 * GIB
        assert memory_limit.at_most(GIB, 4) == 3 * GIB // 4
    assert memory_limit.at_most(5, 1) == 5


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="malloc_trim is part of glibc: elsewhere nothing is given back",
)
def test_freed_memory_is_given_back_to_the_system() -> None:
    blocks = [torch.ones(2**14) for _ in range(3200)]  # 200 MiB in blocks of 64 KiB
    kept, full = blocks[::100], memory_limit.resident()  # what is kept lies between what is freed
    del blocks
    memory_limit.give_back()
    assert memory_limit.resident() < full - 150 * 2**20
    assert all(bool((block == 1).all()) for block in kept)


def test_what_saves_time_alone_takes_a_part_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "resident", lambda: 2 * GIB)
    with memory_limit.within(3 * GIB):
        assert memory_limit.left_for(GIB, 4) == GIB // 4
        assert memory_limit.at_most(GIB, 4) == 3 * GIB // 4  # what numbers hang on follows the limit alone
        monkeypatch.setattr(memory_limit, "resident", lambda: 4 * GIB)
        assert memory_limit.left_for(GIB, 4) == 0
    monkeypatch.setattr(memory_limit, "available", lambda: 2 * GIB)
    with memory_limit.within(None):  # what the process holds at first is not of what was free
        assert memory_limit.left_for(2 * GIB, 1) == 2 * GIB
        monkeypatch.setattr(memory_limit, "resident", lambda: 5 * GIB)
        assert memory_limit.left_for(2 * GIB, 1) == GIB
