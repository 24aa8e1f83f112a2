"""What looking costs: `python -m tests.bench.watching_cost [PAIRS]` prints one row for each way.

The rate of empty tasks on a cluster of this machine with `rayhpc top` at a terminal, and with
`rayhpc dashboard` without and with an open page, as a ratio to the rate while that process is
suspended, in short turns, as this machine's pace changes from second to second; the ratio's
standard error; and what share of one core the process took.  It looks as often as ever, and is
suspended half of the time: each look counts twice.
"""

from __future__ import annotations

import http.client
import os
import pty
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import rayhpc

_BATCH = 2_000
_SECONDS = 0.5
_SETTLE_S = 3.0
_COMMAND = [sys.executable, "-m", "rayhpc.cli.main"]


@rayhpc.remote
def nothing() -> None:
    """An empty task."""


@contextmanager
def top(address: str) -> Iterator[int]:
    """`rayhpc top` at a terminal whose picture nobody keeps."""
    ours, its = pty.openpty()
    command = [*_COMMAND, "top", "--address", address]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environ) as process:
        os.close(its)
        drained = _drain(lambda: os.read(ours, 65536))
        yield process.pid
        process.terminate()
    # Before its number belongs to something else.
    drained.join()
    os.close(ours)


@contextmanager
def dashboard(address: str, is_open: bool) -> Iterator[int]:
    """`rayhpc dashboard`, with a page that reads its events or without."""
    command = [*_COMMAND, "dashboard", "--address", address]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **pipes) as process:
        assert process.stdout is not None
        found = re.search(r":(\d+)(/\S+)", process.stdout.readline())
        assert found is not None
        if is_open:
            _drain(_events(int(found[1]), found[2]))
        yield process.pid
        _most["dashboard open" if is_open else "dashboard closed"] = _resident(process.pid)
        process.terminate()


_most: dict[str, int] = {}


def _events(port: int, link: str) -> Callable[[], bytes]:
    connection = http.client.HTTPConnection("localhost", port)
    connection.request("GET", link)
    response = connection.getresponse()
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    response.read()
    connection.request("GET", "/events", headers={"Cookie": cookie})
    stream = connection.getresponse()
    return lambda: stream.read1(65536)


def _drain(read: Callable[[], bytes]) -> threading.Thread:
    def run() -> None:
        try:
            while read():
                pass
        except (OSError, http.client.HTTPException):  # it has ended
            return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _resident(pid: int) -> int:
    """The most memory that a process has had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024


def _cpu_seconds(pid: int) -> float:
    """The CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _count() -> int:
    """How many tasks run in one turn."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _SECONDS:
        rayhpc.get([nothing.remote() for _ in range(_BATCH)])
        count += _BATCH
    return round(count / (time.perf_counter() - began) * _SECONDS)


def _pairs(pid: int, many: int) -> tuple[list[int], list[int], float]:
    """How many tasks ran with the process and without it, and its share of a core."""
    counts: dict[int, list[int]] = {signal.SIGCONT: [], signal.SIGSTOP: []}
    began = _cpu_seconds(pid)
    for turn in range(many):
        # Each comes first in every other pair.
        for order in sorted(counts, reverse=bool(turn % 2)):
            os.kill(pid, order)
            counts[order].append(_count())
    os.kill(pid, signal.SIGCONT)
    core = (_cpu_seconds(pid) - began) / (2 * many * _SECONDS)
    return counts[signal.SIGCONT], counts[signal.SIGSTOP], core


def main(pairs: int = 30) -> None:
    """Measure, and print."""
    context = rayhpc.init()
    address = context.address_info["address"]
    ways: dict[str, Callable[[], AbstractContextManager[int]]] = {
        "top open": lambda: top(address),
        "dashboard closed": lambda: dashboard(address, False),
        "dashboard open": lambda: dashboard(address, True),
    }
    _count()
    for name, way in ways.items():
        with way() as pid:
            # What starting it costs is not what looking costs.
            time.sleep(_SETTLE_S)
            looking, alone, core = _pairs(pid, pairs)
        ratio = sum(looking) / sum(alone)
        apart = [x - ratio * y for x, y in zip(looking, alone, strict=True)]
        error = statistics.stdev(apart) * pairs**0.5 / sum(alone)
        memory = f", {_most[name]} MiB at the most" if name in _most else ""
        print(
            f"{name:18}{sum(looking) / pairs / _SECONDS:>9,.0f} tasks/s of "
            f"{sum(alone) / pairs / _SECONDS:,.0f}: {ratio:.3f} ± {error:.3f}, "
            f"{core:.1%} of a core{memory}",
            flush=True,
        )
    rayhpc.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
