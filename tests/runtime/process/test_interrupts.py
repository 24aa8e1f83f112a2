"""Ctrl-C while the main thread waits inside the runtime: the wait ends, user code gets it."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator

import pytest

from rayhpc.runtime.process.interrupts import Interrupts, PutOff, inside
from rayhpc.wire.handover import Handover


@pytest.fixture
def handover() -> Iterator[Handover]:
    handover = Handover()
    inside.wake_waiters = handover.wake_waiters
    inside.take_sigint()
    yield handover
    inside.give_handlers_back()
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
        assert leads.wait(60)
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt), inside:
        assert handover.wait(inside.asked, pump, 1000)  # not so long: the test's limit is shorter
    timer.join()
    if follows:
        end.append(1)
        handover.wake_waiters()
        leader.join(60)


def test_outside_the_runtime_it_is_raised_at_once() -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts.interrupt()
    assert not interrupts.pending


class TimeLimit(Exception):
    pass


def limit(*_: object) -> None:
    raise TimeLimit


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = signal.signal(signal.SIGUSR1, limit)
    interrupts = Interrupts()
    interrupts.take_handlers()
    yield interrupts
    interrupts.give_handlers_back()
    signal.signal(signal.SIGUSR1, before)


def test_a_handler_of_the_program_raises_when_the_runtime_is_left(interrupts: Interrupts) -> None:
    seen: list[bool] = []

    def act() -> None:
        with interrupts:
            signal.raise_signal(signal.SIGUSR1)
            seen.append(interrupts.asked())

    with pytest.raises(TimeLimit):
        act()
    assert seen == [True]
    assert not interrupts.pending
    with pytest.raises(TimeLimit):
        signal.raise_signal(signal.SIGUSR1)


def test_a_wait_goes_on_after_a_handler_that_raised_nothing(interrupts: Interrupts) -> None:
    seen: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    interrupts.take_handlers()
    with interrupts:
        signal.raise_signal(signal.SIGUSR1)
        assert not seen
        assert interrupts.may_wait_on()
        assert seen == [signal.SIGUSR1]
        assert not interrupts.may_wait_on()


def test_a_wait_ends_with_what_a_handler_raised_or_an_interrupt(interrupts: Interrupts) -> None:
    may_wait_on: list[bool] = []

    def act(is_interrupted: bool) -> None:
        with interrupts:
            signal.raise_signal(signal.SIGUSR1)
            if is_interrupted:
                interrupts.interrupt()
            may_wait_on.append(interrupts.may_wait_on())

    with pytest.raises(TimeLimit):
        act(False)
    with pytest.raises(KeyboardInterrupt):
        act(True)
    assert may_wait_on == [False, False]
    assert not interrupts.pending


def test_handlers_look_like_the_program_s_own(interrupts: Interrupts) -> None:
    taken = signal.getsignal(signal.SIGUSR1)
    assert type(taken) is PutOff
    assert taken == limit
    assert hash(taken) == hash(limit)
    interrupts.take_handlers()
    assert signal.getsignal(signal.SIGUSR1) is taken
    interrupts.give_handlers_back()
    assert signal.getsignal(signal.SIGUSR1) is limit
