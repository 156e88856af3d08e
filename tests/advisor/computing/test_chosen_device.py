"""Which device is taken, what is refused, and what happens where its memory ends or it is gone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import advisor
from advisor.computing import chosen_device, regions
from advisor.computing.chosen_device import chosen, computing_on, current
from advisor.computing.on_device import OnDevice
from advisor.errors import AdvisorError
from advisor.request import Request
from advisor.support import memory_limit
from tests.pretended_device import pretended


def test_auto_takes_cuda_then_mps_then_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for here, taken in ((("cuda:0", "cuda:1", "mps", "cpu"), "cuda:0"), (("mps", "cpu"), "mps"), (("cpu",), "cpu")):
        monkeypatch.setattr(chosen_device, "present", lambda here=here: here)
        assert str(chosen("auto")) == taken
        assert [str(chosen(name)) for name in here] == list(here)


def test_a_gpu_that_is_absent_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_device, "present", lambda: ("cuda:0", "cpu"))
    assert str(chosen("cuda")) == "cuda:0"
    with pytest.raises(AdvisorError, match=r"has no cuda:1 that torch can use. Use --compute cuda:0 or cpu\.$"):
        chosen("cuda:1")
    with pytest.raises(AdvisorError, match=r"no compute device 'tpu'. Use auto, cpu, cuda, cuda:1 or mps\.$"):
        Request.of(model="m.pt2", compute="tpu")


def test_the_library_refuses_one_that_is_absent_before_the_model_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chosen_device, "present", lambda: ("cpu",))
    with pytest.raises(AdvisorError, match="has no cuda:0"):
        advisor.recommend("nowhere.pt2", compute="cuda")


def test_blocks_nest_and_end() -> None:
    assert current().type == "cpu"
    with computing_on(torch.device("meta")):
        with computing_on(None) as inner:
            assert inner.type == "meta"
        with computing_on("cpu") as inner:
            assert inner.type == "cpu"
        assert current().type == "meta"
    assert current().type == "cpu"


def test_draws_are_those_of_the_cpu() -> None:
    def drawn() -> list[Tensor]:
        torch.manual_seed(5)
        own = torch.Generator().manual_seed(7)
        layer, x = torch.nn.Linear(3, 2), torch.ones(4)
        return [
            torch.randn(3), torch.randperm(5), torch.rand(2, generator=own), torch.rand_like(x), x.normal_(),
            torch.bernoulli(torch.full((6,), 0.5)), layer.weight.detach(), torch.nn.init.uniform_(torch.empty(3)),
            torch.multinomial(torch.ones(9), 4, generator=own),
        ]  # fmt: skip

    here = drawn()
    with pretended() as device, OnDevice(device):
        there = drawn()
        assert {t.device for t in there} == {device}
        back = [t.cpu() for t in there]
    assert all(torch.equal(a, b) for a, b in zip(here, back, strict=True))


def test_where_there_are_no_64_bit_numbers_32_are_taken() -> None:
    mode = OnDevice(torch.device("mps"))
    mode.device = torch.device("mps")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mode, "makes", frozenset())  # nothing is made: there is no such device
        with mode:
            assert torch.ones(2).double().dtype == torch.float32
            assert torch.ones(2).to(torch.float64).dtype == torch.float32
            assert torch.ones(2).sum(dtype=torch.float64).dtype == torch.float32


@regions.on_the_device
def _limits(tries: list[int], fail: list[BaseException]) -> int:
    tries.append(memory_limit.at_most(1000, 1))
    if fail:
        raise fail.pop()
    return tries[-1]


def test_where_memory_ends_half_as_much_is_used_once_and_said() -> None:
    with pretended(), memory_limit.within(2**33) as notes:
        tries: list[int] = []
        assert _limits(tries, [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")]) == 500
        assert tries == [1000, 500]
        assert notes == ["The memory of pretend:0 ran out: it was then used for half as much at a time."]
        assert memory_limit.at_most(1000, 1) == 1000
        with pytest.raises(
            AdvisorError, match=r"pretend:0 is too small for this model and its samples.* --compute cpu"
        ):
            _limits([], [torch.OutOfMemoryError("CUDA out of memory")] * 2)


def test_a_device_that_is_lost_is_said_in_one_line() -> None:
    with pretended():
        with pytest.raises(
            AdvisorError, match=r"pretend:0 was lost: CUDA error: unspecified launch failure\. Run again"
        ):
            _limits([], [RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be")])
        with pytest.raises(RuntimeError, match="a bug of ours"):
            _limits([], [RuntimeError("a bug of ours")])
