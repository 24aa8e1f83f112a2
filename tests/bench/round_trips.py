"""What a round trip between two processes costs at least, beside a call of an actor.

    python -m tests.bench.round_trips [SECONDS]

Prints µs and round trips a second, measured turn about: one byte through a pair of pipes (each way
one process wakes the other); one small message over a stream socket as the runtime makes and polls
it within a node; one over ZeroMQ's ipc, as between a process and its raylet (each way three thread
switches: main thread, ZeroMQ's own thread, the other side's, its main thread);
`multiprocessing.Pool`; and one call of an actor and one task at a time.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable

import zmq
from zmq.backend import zmq_poll

import rayhpc
from rayhpc.util.microbenchmark.remote_code import Actor, nothing
from rayhpc.wire import codec, sockets
from rayhpc.wire.address import make_address
from rayhpc.wire.local_streams import LocalStreams
from rayhpc.wire.messages.windows import Flush

ROUNDS = 7
A, B = b"\x01a", b"\x01b"
MESSAGE = bytes(60)  # about what a call takes


def pipes(children: list[int]) -> Callable[[], object]:
    """One byte there and back through pipes."""
    (read_there, write_there), (read_here, write_here) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        while True:
            os.write(write_here, os.read(read_there, 1))
    children.append(child)

    def turn() -> None:
        os.write(write_there, b"x")
        os.read(read_here, 1)

    return turn


def streams(folder: str, children: list[int]) -> Callable[[], object]:
    """One message there and back between two processes of a node."""
    here, there = make_address(1, 1), make_address(1, 2)
    ready: deque[bytes] = deque()
    epolls = {here: select.epoll(), there: select.epoll()}
    opened = {
        me: LocalStreams(me, lambda address: f"{folder}/{address:x}", _never, ready, epoll)
        for me, epoll in epolls.items()
    }
    ping, pong = codec.encode(there, here, Flush()), codec.encode(here, there, Flush())

    def await_one(me: int) -> None:
        while not ready:
            for fd, events in epolls[me].poll():
                opened[me].serve(fd, events)
        ready.clear()

    if (child := os.fork()) == 0:
        while True:
            await_one(there)
            opened[there].send(here, pong)
    children.append(child)

    def turn() -> None:
        opened[here].send(there, ping)
        await_one(here)

    return turn


def _never(_: int, frame: bytes) -> bool:
    raise AssertionError(frame)


def zeromq(folder: str, children: list[int]) -> Callable[[], object]:
    """One message there and back between two ROUTERs, each polled with a second descriptor."""
    wake = os.eventfd(0)
    if (child := os.fork()) == 0:
        sock = _router(B)
        sockets.bind_ipc(sock, f"{folder}/b")
        while True:
            name, _ = _polled(sock, wake)
            sockets.send_to(sock, name, MESSAGE)
    children.append(child)
    while not sockets.listens_ipc(f"{folder}/b"):
        os.sched_yield()
    sock = _router(A)
    sockets.connect_ipc(sock, f"{folder}/b", B)

    def turn() -> None:
        sockets.send_to(sock, B, MESSAGE)
        _polled(sock, wake)

    return turn


def _router(name: bytes) -> sockets.Socket:
    return sockets.make_router(zmq.Context(io_threads=1), routing_id=name)


def _polled(sock: sockets.Socket, wake: int) -> tuple[bytes, bytes]:
    zmq_poll([(sock, zmq.POLLIN), (wake, zmq.POLLIN)], -1)
    return sock.recv(), sock.recv()


def measure(turns: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Seconds a turn: the median of the rounds of each."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(ROUNDS):
        for name, turn in turns.items():
            turn()
            count, start = 0, time.perf_counter()
            while (spent := time.perf_counter() - start) < seconds / ROUNDS:
                turn()
                count += 1
            found[name].append(spent / count)
    return {name: statistics.median(times) for name, times in found.items()}


def main(seconds: float = 0.5) -> None:
    """Measure all, turn about, and print them."""
    children: list[int] = []
    with tempfile.TemporaryDirectory(prefix="rayhpc-bench-") as folder:
        turns = {
            "two processes, a pipe each way": pipes(children),
            "two processes, one over a stream socket": streams(folder, children),
            "two processes, one ZeroMQ round trip": zeromq(folder, children),
        }
        try:
            _beside(turns, seconds)
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _beside(turns: dict[str, Callable[[], object]], seconds: float) -> None:
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        turns["multiprocessing.Pool, one task"] = lambda: pool.apply_async(nothing).get()
        rayhpc.init(num_cpus=2, log_to_driver=False)
        actor = rayhpc.remote(num_cpus=0)(Actor).remote()
        task = rayhpc.remote(nothing)
        turns["rayhpc, one call of an actor"] = lambda: rayhpc.get(actor.small_value.remote())
        turns["rayhpc, one task"] = lambda: rayhpc.get(task.remote())
        for name, spent in measure(turns, seconds).items():
            print(f"{name:<38} {spent * 1e6:>8.1f} µs {1 / spent:>10,.0f} /s")
        rayhpc.shutdown()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
