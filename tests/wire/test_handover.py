"""The hand-over with real threads and real polling: a stress run, speed, and what ends it."""

from __future__ import annotations

import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rayhpc.wire.handover import Handover

LONG = bool(os.environ.get("RAYHPC_LONG_TESTS"))
TURNS = 1_000_000 if LONG else 100_000
THREADS = 8


class Echo:
    """A hand-over whose network is a thread that answers each number with itself."""

    def __init__(self) -> None:
        self.handover = Handover()
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.arrived: set[int] = set()
        self.leaders = 0
        self.pumped_by: set[int] = set()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while (number := self.asked.get()) is not None:
            self.theirs.sendall(number.to_bytes(8, "big"))

    def alone(self) -> None:
        assert self.leaders == 0, "two threads lead"
        self.leaders += 1
        assert self.leaders == 1, "two threads lead"
        self.leaders -= 1

    def pump(self, timeout: float | None) -> None:
        self.alone()
        self.pumped_by.add(threading.get_ident())
        ready = select.select([self.ours, self.handover.wake_fd], [], [], timeout)[0]
        if self.handover.wake_fd in ready:
            self.handover.drain()
        if self.ours in ready:
            data = self.ours.recv(8 * 4096)
            self.arrived.update(
                int.from_bytes(data[at : at + 8], "big") for at in range(0, len(data), 8)
            )
        self.alone()

    def act(self) -> None:
        with self.handover.lead():
            self.alone()

    def ask(self, number: int, timeout: float | None = None) -> bool:
        self.asked.put(number)
        return self.handover.wait(lambda: number in self.arrived, self.pump, timeout)

    def close(self) -> None:
        self.handover.stop()
        self.asked.put(None)
        self._thread.join()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def fast_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(target: Callable[[int], object], count: int) -> None:
    """Run `target(index)` in `count` threads; their errors are the caller's."""
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            target(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(x,), daemon=True) for x in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100 if not LONG else None)
        assert not thread.is_alive(), "hung"
    if errors:
        raise errors[0]


@pytest.mark.timeout(3600 if LONG else 120)
def test_stress(echo: Echo, fast_switching: None) -> None:
    echo.handover.start(echo.pump)
    rounds = TURNS // (THREADS * 8)

    def work(index: int) -> None:
        base = index * 10_000_000
        for number in range(rounds):
            for _ in range(8):
                echo.act()
            if number % 7 == 0:
                echo.handover.wake_waiters()
            if number % 11 == 0:
                echo.handover.wait(lambda: False, echo.pump, 0.0)
            assert echo.ask(base + number)
            echo.arrived.discard(base + number)

    in_threads(work, THREADS)
    assert not echo.arrived
    assert echo.handover._turns >= TURNS


def test_who_waits_does_the_io_itself(echo: Echo) -> None:
    echo.handover.start(echo.pump)
    assert echo.ask(1)
    helped = 0
    for number in range(2, 52):
        echo.pumped_by.clear()
        assert echo.ask(number)
        helped += echo.pumped_by != {threading.get_ident()}
    assert helped < 25  # on a busy machine 2 ms may pass between two rounds


def test_the_background_serves_while_nobody_waits(echo: Echo) -> None:
    echo.handover.start(echo.pump)
    done = threading.Event()

    def watch() -> None:
        while 5 not in echo.arrived:
            select.select([], [], [], 0.001)
        done.set()

    echo.asked.put(5)
    threading.Thread(target=watch, daemon=True).start()
    assert done.wait(60)
    assert echo.pumped_by - {threading.get_ident()}


def test_the_background_serves_beside_a_thread_that_acts_all_the_time(echo: Echo) -> None:
    echo.handover.start(echo.pump)
    echo.asked.put(1)
    deadline = time.monotonic() + 60
    while 1 not in echo.arrived and time.monotonic() < deadline:
        with echo.handover.lead():
            echo.alone()
    assert 1 in echo.arrived
    assert threading.get_ident() not in echo.pumped_by


def test_a_wait_ends_when_its_time_is_over(echo: Echo) -> None:
    start = time.monotonic()
    assert not echo.handover.wait(lambda: False, echo.pump, 0.05)
    assert time.monotonic() - start >= 0.05


def test_a_follower_takes_over_when_the_leader_leaves(echo: Echo) -> None:
    def work(index: int) -> None:
        if index == 0:
            assert not echo.handover.wait(lambda: False, echo.pump, 0.2)
        else:
            assert echo.handover.wait(lambda: "late" in flags, echo.pump, 20)

    flags: set[str] = set()
    echo.handover.start(echo.pump)
    timer = threading.Timer(0.4, lambda: (flags.add("late"), echo.handover.wake_waiters()))
    timer.start()
    in_threads(work, 4)
    timer.join()


def test_an_error_in_pump_is_the_waiting_threads_own(echo: Echo) -> None:
    def broken(timeout: float | None) -> None:
        raise KeyError("bad")

    with pytest.raises(KeyError):
        echo.handover.wait(lambda: False, broken)
    echo.act()  # the lead was given back
    assert echo.ask(1)


def test_the_background_survives_an_error(echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
    failures = iter([True, True])
    served = threading.Event()

    def pump(timeout: float | None) -> None:
        if next(failures, False):
            raise KeyError("bad message")
        served.set()
        echo.pump(timeout)

    echo.handover.start(pump)
    assert served.wait(60)
    assert "bad message" in caplog.text


def test_waiting_inside_a_handler(echo: Echo) -> None:
    with echo.handover.lead():
        assert echo.ask(1)
        with echo.handover.lead():
            assert not echo.handover.wait(lambda: False, echo.pump, 0.0)
    echo.handover.start(echo.pump)
    assert echo.ask(2)


def test_a_signal_handler_ends_a_wait(echo: Echo) -> None:
    flags: list[int] = []

    def handler(*_: object) -> None:
        flags.append(1)
        echo.handover.wake_waiters()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        timer.start()
        assert echo.handover.wait(lambda: bool(flags), echo.pump, 20)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_while_following_leaves_no_trace(echo: Echo) -> None:
    """KeyboardInterrupt in a follower (the main thread): the others go on."""
    leads = threading.Event()
    end: list[int] = []

    def pump(timeout: float | None) -> None:
        leads.set()
        echo.pump(timeout)

    leader = threading.Thread(
        target=lambda: echo.handover.wait(lambda: bool(end), pump), daemon=True
    )
    leader.start()
    assert leads.wait(60)
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        echo.handover.wait(lambda: False, echo.pump, 20)
    timer.join()
    end.append(1)
    echo.handover.wake_waiters()
    leader.join(60)
    assert not leader.is_alive()
    echo.act()


def test_stopped_it_refuses_others_and_can_be_stopped_again(echo: Echo) -> None:
    echo.handover.start(echo.pump)
    echo.handover.stop()
    echo.handover.stop()
    refused: list[str] = []

    def work(index: int) -> None:
        try:
            echo.act()
        except RuntimeError as error:
            refused.append(str(error))

    in_threads(work, 2)
    assert len(refused) == 2
    assert "rayhpc.init()" in refused[0]
    echo.act()
    echo.handover.wake_waiters()


def test_a_forked_child_refuses_and_leaves_the_parent_alone(echo: Echo) -> None:
    assert not select.select([echo.handover.wake_fd], [], [], 0)[0]
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            echo.handover.abandon()
            echo.handover.wake_waiters()
            echo.act()
        except RuntimeError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert b"spawn" in os.read(read, 1000)
    os.close(read)
    assert not select.select([echo.handover.wake_fd], [], [], 0)[0]
    assert echo.ask(1)


def test_the_lead_costs_about_a_microsecond() -> None:
    handover = Handover()

    def spent(rounds: int) -> float:
        start = time.perf_counter()
        for _ in range(rounds):
            with handover.lead():
                pass
        return (time.perf_counter() - start) / rounds

    best = min(spent(2000) for _ in range(20))
    assert best < 5e-6  # 0.6 µs on an idle machine
