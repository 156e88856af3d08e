"""Work on several cores: really at once, in order, in the caller's mode, and torch left as found."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from advisor.support.threads import MOST_AT_ONCE, few_ahead, one_thread, side_by_side


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_thread_may_be_nested_and_is_undone_after_an_error() -> None:
    def fails() -> None:
        with one_thread(), one_thread():
            assert torch.get_num_threads() == 1
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fails()
    assert torch.get_num_threads() == 2


def test_calls_run_at_once_each_on_one_thread_and_answer_in_order() -> None:
    together = threading.Barrier(2, timeout=30)  # passed only by two at once

    def called(a: int, b: int) -> tuple[int, int]:
        together.wait()
        return a - b, torch.get_num_threads()

    with one_thread(), side_by_side() as spread:
        assert list(spread(called, [5, 7], [1, 2])) == [(4, 1), (5, 1)]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("cores", [1, 2])
def test_calls_keep_the_grad_mode_of_their_caller(enabled: bool, cores: int) -> None:
    torch.set_num_threads(cores)
    with side_by_side() as spread, torch.set_grad_enabled(enabled):
        assert list(spread(lambda _: torch.is_grad_enabled(), range(3))) == [enabled] * 3


def test_no_more_at_once_than_memory_is_planned_for() -> None:
    torch.set_num_threads(MOST_AT_ONCE + 3)
    names: set[str] = set()
    gathered = threading.Barrier(MOST_AT_ONCE, timeout=30)

    def called(_: int) -> None:
        gathered.wait()
        names.add(threading.current_thread().name)

    with side_by_side() as spread:
        list(spread(called, range(3 * MOST_AT_ONCE)))
    assert len(names) == MOST_AT_ONCE


def test_an_error_in_a_call_is_the_callers_and_torch_is_left_as_found() -> None:
    def fails(item: int) -> int:
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 4"), side_by_side() as spread:
        list(spread(fails, [4, 5]))
    assert torch.get_num_threads() == 2


def test_few_results_are_computed_ahead_of_the_caller_and_all_come_in_order() -> None:
    begun: list[int] = []

    def called(item: int) -> int:
        begun.append(item)
        return item * item

    with side_by_side() as spread:
        results = few_ahead(spread, called, range(3 * MOST_AT_ONCE))
        assert next(results) == 0
        assert set(begun) <= set(range(MOST_AT_ONCE))
        assert list(results) == [item * item for item in range(1, 3 * MOST_AT_ONCE)]
