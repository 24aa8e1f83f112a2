"""What the wire itself gives between two processes of this machine: plain TCP, and ZeroMQ's CURVE.

    python -m tests.bench.wire_limits [MIB]

Prints GB/s as JSON: {"plain TCP": …, "CURVE": …}.  Used by `between_nodes`, in the same run as its
rows.  Both ends keep their bytes in an anonymous memory file, as stores do; the reader has all of
them in its own one at the end.  Best of three, after one round that warms the pages.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

import zmq

PIECE = 2**20
STREAMS = 2
ROUNDS = 4
AHEAD = 8  # pieces asked for at a time
LEAVE = b"leave"


def arena(size: int) -> memoryview:
    """Memory like a store's."""
    fd = os.memfd_create("bench")
    os.ftruncate(fd, size)
    return memoryview(mmap.mmap(fd, size))


def rates(size: int, read: Callable[[], None]) -> list[float]:
    """GB/s of each round; only the first finds memory that nobody has used."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        read()
        times.append(time.perf_counter() - start)
    return [size / 1e9 / each for each in times]


def plain_tcp(size: int) -> list[float]:
    """Two streams, sent and received in place; the result is that of `rates`."""
    listener = socket.create_server(("127.0.0.1", 0))
    spans = [(i * size // STREAMS, (i + 1) * size // STREAMS) for i in range(STREAMS)]
    pid = os.fork()
    if pid == 0:
        source = arena(size)
        source[:] = os.urandom(PIECE) * (size // PIECE)
        socks = [listener.accept()[0] for _ in spans]
        while socks[0].recv(1):
            _all(lambda i: socks[i].sendall(source[slice(*spans[i])]))
        os._exit(0)
    target = arena(size)
    socks = [socket.create_connection(listener.getsockname()) for _ in spans]

    def receive(i: int) -> None:
        view = target[slice(*spans[i])]
        while len(view):
            view = view[socks[i].recv_into(view) :]

    def read() -> None:
        socks[0].sendall(b"g")
        _all(receive)

    found = rates(size, read)
    for sock in socks:
        sock.close()
    os.waitpid(pid, 0)
    return found


def _all(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(i,)) for i in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def curve(size: int) -> list[float]:
    """One connection, pieces of 1 MiB, sent without a copy; the result is that of `rates`."""
    server_public, server_secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        source = arena(size)
        source[:] = os.urandom(PIECE) * (size // PIECE)
        router = zmq.Context().socket(zmq.ROUTER)
        router.curve_server = True
        router.curve_publickey, router.curve_secretkey = server_public, server_secret
        os.write(tell, b"%d\n" % router.bind_to_random_port("tcp://127.0.0.1"))
        while True:
            who, at = router.recv_multipart()
            if at == LEAVE:
                os._exit(0)
            router.send_multipart([who, source[int(at) : int(at) + PIECE]], copy=False)
    target = arena(size)
    dealer = zmq.Context().socket(zmq.DEALER)
    dealer.curve_serverkey = server_public
    dealer.curve_publickey, dealer.curve_secretkey = client_public, client_secret
    dealer.connect(f"tcp://127.0.0.1:{int(os.read(told, 20))}")

    def read() -> None:
        starts = range(0, size, PIECE)
        for at in starts[:AHEAD]:
            dealer.send(b"%d" % at)
        for i, at in enumerate(starts):
            target[at : at + PIECE] = dealer.recv(copy=False).buffer
            if i + AHEAD < len(starts):
                dealer.send(b"%d" % starts[i + AHEAD])

    found = rates(size, read)
    dealer.send(LEAVE)
    os.waitpid(pid, 0)
    return found


if __name__ == "__main__":
    bytes_ = (int(sys.argv[1]) if len(sys.argv) > 1 else 100) * PIECE
    found = {"plain TCP": plain_tcp(bytes_), "CURVE": curve(bytes_)}
    print(json.dumps({name: max(each[1:]) for name, each in found.items()}))
