"""A driver that is stopped does not fill the memory of the actors it has called."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

CALLS = 3000
DRIVER = f"""
import os, signal, sys
import rayhpc as ray

class Sync:
    def __init__(self, path):
        self.file = open(path, "ab", buffering=0)
    def pid(self):
        return os.getpid()
    def large(self, i):
        self.file.write(b".")
        return bytes([i % 256]) * 90_000

class Async(Sync):
    async def large(self, i):
        return super().large(i)

ray.init(num_cpus=1)
kind, path = sys.argv[1:]
made = ray.remote(Async if kind == "async" else Sync)
actor = made.options(max_concurrency=1 if kind == "sync" else 4).remote(path)
print(ray.get(actor.pid.remote()), flush=True)
refs = [actor.large.remote(i) for i in range({CALLS})]
os.kill(os.getpid(), signal.SIGSTOP)
found = ray.get(refs)
assert all(value == bytes([i % 256]) * 90_000 for i, value in enumerate(found))
"""


@pytest.mark.parametrize("kind", ["sync", "threaded", "async"])
def test_an_actor_stops_when_its_caller_reads_no_replies(tmp_path: Path, kind: str) -> None:
    begun = tmp_path / "begun"
    argv = [sys.executable, "-c", DRIVER, kind, str(begun)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        worker = psutil.Process(int(driver.stdout.readline()))
        os.waitid(os.P_PID, driver.pid, os.WSTOPPED | os.WNOWAIT)
        _wait_until_idle(worker)
        # 64 MiB and what is in flight, of 270.
        assert begun.stat().st_size < CALLS / 2
        os.kill(driver.pid, signal.SIGCONT)
        assert driver.wait(60) == 0
    assert begun.stat().st_size == CALLS


def _wait_until_idle(process: psutil.Process) -> None:
    """Wait until it uses a fiftieth of a core at most."""
    for _ in range(100):
        if process.cpu_percent(0.2) <= 2.0:
            return
    raise AssertionError("the actor has gone on for 20 s")
