"""What the data plane gives between two stores of this machine, beside plain TCP in the same run.

    python -m tests.bench.data_plane [--mib 512] [--rounds 4]

Two processes with a store and a data plane each, without raylets: the reader asks for spans over a
pipe as `raylet.objects.pulls` does over the control plane.  Prints GB/s of the best round, and the
CPU time of both processes; into memory that has been written before, as after a few objects, and
into memory that nobody has used, which the kernel has yet to find, clear and map.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import time
from collections import deque
from multiprocessing.connection import Connection, wait
from typing import Any

from rayhpc.raylet.objects import channels, pulls
from rayhpc.raylet.objects.background import Background
from rayhpc.store.arena import Arena
from rayhpc.wire.data_plane import DataPlane
from rayhpc.wire.data_plane.sending import Span
from tests.bench import wire_limits

CPU = "how much CPU time"
PATTERN = os.urandom(2**20)


class End:
    """A store with a data plane; what that says is put into `said`."""

    def __init__(self, size: int) -> None:
        self.arena = Arena.create(size)
        self.plane = DataPlane(self.arena, ["127.0.0.1"], None)
        self.background = Background()
        self.said: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.plane.attach(self.background.tell, self)

    def hear(self) -> tuple[Any, ...]:
        """Wait for what the data plane says next."""
        while self.said.empty():
            wait([self.background.wake_fd])
            self.background.run_done()
        return self.said.get()

    def close(self) -> None:
        self.plane.close()
        self.background.close()
        self.arena.close()

    def opened(self, *what: Any) -> None:
        self.said.put(("opened", *what))

    def arrived(self, *what: Any) -> None:
        self.said.put(("arrived", *what))

    def closed(self, *what: Any) -> None:
        self.said.put(("closed", *what))

    def sent(self, *what: Any) -> None:
        """Nobody waits for it."""

    def ended(self, *what: Any) -> None:
        """Nobody waits for it."""


def source(size: int, pipe: Connection) -> None:
    """Keep an object, and send what is asked for, until None is."""
    end = End(size)
    for at in range(0, size, len(PATTERN)):
        os.pwrite(end.arena.fd, PATTERN, at)  # as another process would write it
    assert end.plane.listen() == ""
    pipe.send([end.plane.offer(2) for _ in range(channels.CHANNELS_EACH)])
    while True:
        ready = wait([pipe, end.background.wake_fd])
        if end.background.wake_fd in ready:
            end.background.run_done()
        if pipe in ready:
            asked = pipe.recv()
            if asked is None:
                break
            if asked == CPU:
                pipe.send(time.process_time())
            else:
                end.plane.send(*asked)
    end.close()


class Reading:
    """Gets the whole object once, with as many spans under way as a raylet has.

    Args:
        end: where to.
        size: bytes.
        pipe: to whom has it.
        real: whether the memory is real; if not, it is made so in parts, as a raylet does.
    """

    def __init__(self, end: End, size: int, pipe: Connection, real: bool) -> None:
        self._end = end
        self._size = size
        self._pipe = pipe
        self._real = size if real else 0
        self._committing = False
        self._starts = deque(range(0, size, pulls.SPAN))
        self._idle: list[Any] = []
        self._under_way = 0

    def run(self, open_channels: list[Any]) -> None:
        """Return when all of it is there."""
        self._idle = 2 * open_channels
        self._ask()
        while self._under_way or self._starts:
            kind, *what = self._end.hear()
            assert kind != "closed", what
            if kind == "arrived":
                self._under_way -= 1
                self._idle.append(what[0])
            self._ask()

    def _ask(self) -> None:
        self._commit_more()
        while self._idle and self._starts:
            start = self._starts[0]
            length = min(pulls.SPAN, self._size - start)
            if start + length > self._real:
                return
            self._starts.popleft()
            channel = self._idle.pop(0)
            self._end.plane.expect(channel, start, start, length, start)
            self._pipe.send((channel[1], Span(start, 1, start, length, start)))
            self._under_way += 1

    def _commit_more(self) -> None:
        if self._committing or self._real == self._size:
            return
        self._committing = True
        arena, start = self._end.arena, self._real
        length = min(pulls.PART, self._size - start)

        def committed(ok: bool) -> None:
            assert ok
            self._committing = False
            self._real += length
            self._end.said.put(("real",))

        self._end.background.submit(lambda: arena.commit(start, length), committed)


def run(size: int, rounds: int, used: bool) -> tuple[float, float]:
    """Seconds of the best round, and CPU seconds of both ends per round.

    Args:
        size: bytes.
        rounds: how often it is read; more than once only into used memory.
        used: whether the reader's memory has been written before.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=source, args=(size, there))
    process.start()
    end = End(size)
    assert end.plane.prepare() == ""
    open_channels = []
    for offer in here.recv():
        end.plane.dial(1, offer)
        open_channels.append(end.hear()[1])
    if used:
        end.arena.commit(0, size)
        end.arena.populate(0, size)
        Reading(end, size, here, used).run(open_channels)
    spent = []
    cpu = _cpu(here)
    for _ in range(rounds):
        begin = time.perf_counter()
        Reading(end, size, here, used).run(open_channels)
        spent.append(time.perf_counter() - begin)
    cpu = _cpu(here) - cpu
    here.send(None)
    process.join()
    for at in range(0, size, len(PATTERN)):
        with end.arena.view(at, len(PATTERN)) as view:
            assert view == PATTERN, "wrong bytes"
    end.close()
    return min(spent), cpu / rounds


def _cpu(pipe: Connection) -> float:
    """CPU seconds of both processes until now."""
    pipe.send(CPU)
    return float(pipe.recv()) + time.process_time()


def main() -> None:
    """Measure plain TCP and the data plane, into used and unused memory."""
    parser = argparse.ArgumentParser(description="the data plane beside plain TCP")
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    size = given.mib * 2**20
    first, *others = wire_limits.plain_tcp(size)
    print(f"{'':14} {'plain TCP':>12} {'data plane':>12} {'ratio':>8} {'CPU s per GB':>14}")
    ways = (("used memory", max(others), given.rounds, True), ("unused memory", first, 1, False))
    for name, plain, rounds, used in ways:
        spent, cpu = run(size, rounds, used)
        rate = size / 1e9 / spent
        each = cpu / (size / 1e9)
        print(f"{name:14} {plain:12.2f} {rate:12.2f} {rate / plain:8.2f} {each:14.2f}", flush=True)


if __name__ == "__main__":
    main()
