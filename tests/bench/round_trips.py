"""What a round trip between two processes costs at least, beside a call of an actor.

    python -m tests.bench.round_trips [SECONDS]

Prints µs and round trips a second, measured turn about: one byte through a pair of pipes (each way
one process wakes the other); one small message over a stream socket as the runtime makes and polls
it within a node; one over ZeroMQ's ipc, as between a process and its raylet (each way three thread
switches: main thread, ZeroMQ's own thread, the other side's, its main thread);
`multiprocessing.Pool`; and one call of an actor and one task at a time, on this node and another.
What two nodes need at least: the same message over plain TCP, and over ZeroMQ's TCP with CURVE.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import zmq
from zmq.backend import zmq_poll

import rayhpc
from rayhpc.cluster_utils import Cluster
from rayhpc.util.microbenchmark.remote_code import Actor, nothing
from rayhpc.wire import codec, sockets
from rayhpc.wire.address import make_address
from rayhpc.wire.keys import new_key_pair
from rayhpc.wire.listener import Listener
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


def tcp(children: list[int]) -> Callable[[], object]:
    """One message there and back over plain TCP, each end waiting in `recv`."""
    listener = socket.create_server(("127.0.0.1", 0))
    if (child := os.fork()) == 0:
        _answer(listener.accept()[0])
    children.append(child)
    sock = socket.create_connection(listener.getsockname())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def turn() -> None:
        sock.sendall(MESSAGE)
        sock.recv(len(MESSAGE), socket.MSG_WAITALL)

    return turn


def _answer(sock: socket.socket) -> NoReturn:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        sock.sendall(sock.recv(len(MESSAGE), socket.MSG_WAITALL))


def curve(children: list[int]) -> Callable[[], object]:
    """One message there and back between ROUTERs over TCP and CURVE, polled like `zeromq`'s."""
    server, client = new_key_pair(), new_key_pair()
    wake = os.eventfd(0)
    told, tell = os.pipe()
    if (child := os.fork()) == 0:
        listener = Listener(zmq.Context(io_threads=1), server, [client.public], b"bench")
        os.write(tell, b"%d\n" % listener.listen(["127.0.0.1"], 0, None)[0][1])
        while not (came := list(listener.receive())):
            zmq_poll([(each, zmq.POLLIN) for each in listener.sockets], -1)
        name = came[0][0]
        while True:
            sockets.send_to(listener.sock, name, MESSAGE)
            name, _ = _polled(listener.sock, wake)
    children.append(child)
    context = zmq.Context(io_threads=1)
    sock = sockets.make_tcp_client(context, zmq.ROUTER, client, routing_id=A)
    sockets.connect_tcp(sock, "127.0.0.1", int(os.read(told, 20)), server.public, B)
    while not sockets.send_to(sock, B, MESSAGE):
        os.sched_yield()  # it is still shaking hands
    _polled(sock, wake)

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
            "two processes, one over plain TCP": tcp(children),
            "two processes, one over ZeroMQ's CURVE": curve(children),
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
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"here": 1}}
        )
        cluster.add_node(num_cpus=2, resources={"there": 1})
        rayhpc.init(address=cluster.address, log_to_driver=False)
        for place, where in (("here", ""), ("there", ", other node")):
            options = {"num_cpus": 0, "resources": {place: 0.01}}
            actor = rayhpc.remote(**options)(Actor).remote()
            task = rayhpc.remote(**options)(nothing)
            turns[f"rayhpc, one call of an actor{where}"] = _waits_for(actor.small_value.remote)
            turns[f"rayhpc, one task{where}"] = _waits_for(task.remote)
        for name, spent in measure(turns, seconds).items():
            print(f"{name:<42} {spent * 1e6:>8.1f} µs {1 / spent:>10,.0f} /s")
        rayhpc.shutdown()
        cluster.shutdown()


def _waits_for(submit: Callable[[], rayhpc.ObjectRef[object]]) -> Callable[[], object]:
    return lambda: rayhpc.get(submit())


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
