"""Signals wait while something is finished."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from advisor.support.interrupts import held


def test_ctrl_c_waits_until_the_block_is_done() -> None:
    done = []

    def work() -> None:
        with held():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_the_block_saw_to_is_not_raised() -> None:
    with held() as waiting:
        os.kill(os.getpid(), signal.SIGINT)
        assert waiting.forget()
    with held() as waiting:
        assert not waiting.forget()


def test_blocks_nest_and_the_outermost_raises() -> None:
    done = []

    def work() -> None:
        with held():
            with held():
                os.kill(os.getpid(), signal.SIGINT)
            done.append("still inside")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["still inside"]


def test_another_thread_holds_nothing_and_does_not_fail() -> None:
    seen = []

    def work() -> None:
        with held() as waiting:
            seen.append(waiting.arrived)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [[]]
