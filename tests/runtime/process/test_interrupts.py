"""Ctrl-C while the main thread waits inside the runtime: the wait ends, user code gets it."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from rayhpc.runtime.process.interrupts import Interrupts, inside
from rayhpc.wire.handover import Handover


@pytest.fixture
def handover() -> Iterator[Handover]:
    handover = Handover()
    inside.wake_waiters = handover.wake_waiters
    inside.take_sigint()
    yield handover
    inside.give_sigint_back()
    inside.wake_waiters = None


@pytest.mark.parametrize("follows", [False, True])
def test_a_waiting_main_thread_is_interrupted_at_once(handover: Handover, follows: bool) -> None:
    leads = threading.Event()
    end: list[int] = []

    def pump(timeout: float | None) -> None:
        leads.set()
        if select.select([handover.wake_fd], [], [], timeout)[0]:
            handover.drain()

    leader = threading.Thread(target=lambda: handover.wait(lambda: bool(end), pump), daemon=True)
    if follows:
        leader.start()
        assert leads.wait(10)
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), inside:
        assert handover.wait(inside.asked, pump, 30)
    assert time.monotonic() - start < 10
    timer.join()
    if follows:
        end.append(1)
        handover.wake_waiters()
        leader.join(10)


def test_outside_the_runtime_it_is_raised_at_once() -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts.interrupt()
    assert not interrupts.pending
