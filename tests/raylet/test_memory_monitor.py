"""The memory monitor: whom it ends, and when."""

from __future__ import annotations

import mmap
import os
import signal

from rayhpc.raylet.memory_monitor import MemoryMonitor, Pressure, Readings, private_bytes
from rayhpc.raylet.workers import ACTOR, IDLE, LEASED, WorkerProcess

GIB = 2**30


def worker(number: int, lease: int, state: str = LEASED) -> WorkerProcess:
    return WorkerProcess(number, number, number, (1, b""), 0.0, state, pid=number, lease=lease)


class Machine:
    def __init__(self, sizes: dict[int, float]) -> None:
        self.used = 0.0
        self.time = 0.0
        self.sizes = sizes
        self.monitor = MemoryMonitor(
            lambda: [Pressure(int(self.used * GIB), 10 * GIB, "the test's limit")],
            lambda pid: int(self.sizes[pid] * GIB),
            lambda: self.time,
        )

    def look(self, workers: list[WorkerProcess]) -> WorkerProcess | None:
        self.time = max(self.time, self.monitor.deadline())
        found = self.monitor.look(workers)
        return None if found is None else found[0]


def test_nobody_is_ended_while_there_is_memory() -> None:
    machine = Machine({1: 5})
    machine.used = 9.4
    assert machine.look([worker(1, 1)]) is None
    assert machine.monitor.deadline() - machine.time < 0.2  # but it looks more often


def test_the_newest_of_the_large_ones_is_ended() -> None:
    machine = Machine({1: 4, 2: 3, 3: 0.1})
    machine.used = 9.6
    workers = [worker(1, 10), worker(2, 11), worker(3, 12)]
    assert machine.look(workers) is workers[1]


def test_an_actor_only_if_no_task_would_help() -> None:
    machine = Machine({1: 4, 2: 2, 3: 0.1, 4: 4})
    machine.used = 9.6
    actor, task, small = worker(1, 12, ACTOR), worker(2, 11), worker(3, 13)
    idle = worker(4, 14, IDLE)
    assert machine.look([actor, task, small, idle]) is task
    assert machine.look([actor, small, idle]) is actor


def test_the_reason_has_a_table_of_the_largest() -> None:
    machine = Machine({11: 4, 22: 5})
    machine.used = 9.7
    machine.time = machine.monitor.deadline()
    found = machine.monitor.look([worker(11, 1), worker(22, 2)])
    assert found is not None
    _, reason = found
    assert "9.70 GiB of 10.00 GiB (the test's limit)" in reason
    assert reason.index("22   5.00 GiB") < reason.index("11   4.00 GiB")


def test_real_numbers_are_there() -> None:
    assert private_bytes(os.getpid()) > 1 << 20
    assert private_bytes(2**22 + 1) == 0
    found = Readings(GIB, lambda: [os.getpid()], lambda: 5 << 20).read()
    ours = found[-1]
    assert ours.limit == GIB
    assert ours.used > 6 << 20


def test_where_yarn_counts_shared_memory_counts_for_each_process() -> None:
    shared = mmap.mmap(-1, 64 << 20)
    shared.write(b"x" * (64 << 20))
    child = os.fork()
    if child == 0:
        shared.seek(0)
        shared.read()
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    try:
        pids = [os.getpid(), child]
        once = Readings(GIB, lambda: pids, lambda: 64 << 20).read()[-1]
        each = Readings(GIB, lambda: pids, lambda: 64 << 20, counts_shared=True).read()[-1]
        assert each.used - once.used > 48 << 20
        assert "shared memory once for each process" in each.source
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        shared.close()
