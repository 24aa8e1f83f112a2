"""What looking costs: `python -m tests.bench.watching_cost [ROUNDS]` prints one row for each way.

The rate of empty tasks on a cluster of this machine while nobody looks, with `rayhpc top` at a
terminal, and with `rayhpc dashboard` without and with an open page; ratios to nobody, medians of
rounds that take turns.
"""

from __future__ import annotations

import http.client
import os
import pty
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import rayhpc

_BATCH = 2_000
_SECONDS = 1.5
_SETTLE_S = 1.0
_COMMAND = [sys.executable, "-m", "rayhpc.cli.main"]


@rayhpc.remote
def nothing() -> None:
    """An empty task."""


@contextmanager
def top(address: str) -> Iterator[None]:
    """`rayhpc top` at a terminal whose picture nobody keeps."""
    ours, its = pty.openpty()
    command = [*_COMMAND, "top", "--address", address]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environ) as process:
        os.close(its)
        _drain(lambda: os.read(ours, 65536))
        yield
        process.terminate()
    os.close(ours)


@contextmanager
def dashboard(address: str, is_open: bool) -> Iterator[None]:
    """`rayhpc dashboard`, with a page that reads its events or without."""
    command = [*_COMMAND, "dashboard", "--address", address]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **pipes) as process:
        assert process.stdout is not None
        found = re.search(r":(\d+)(/\S+)", process.stdout.readline())
        assert found is not None
        if is_open:
            _drain(_events(int(found[1]), found[2]))
        yield
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


def _drain(read: Callable[[], bytes]) -> None:
    def run() -> None:
        try:
            while read():
                pass
        except (OSError, http.client.HTTPException):  # it has ended
            return

    threading.Thread(target=run, daemon=True).start()


def _resident(pid: int) -> int:
    """The most memory that a process has had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024


def _rate() -> float:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _SECONDS:
        rayhpc.get([nothing.remote() for _ in range(_BATCH)])
        count += _BATCH
    return count / (time.perf_counter() - began)


def main(rounds: int = 5) -> None:
    """Measure, and print."""
    context = rayhpc.init()
    address = context.address_info["address"]
    ways: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "nobody": nullcontext,
        "top open": lambda: top(address),
        "dashboard closed": lambda: dashboard(address, False),
        "dashboard open": lambda: dashboard(address, True),
    }
    _rate()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            with way():
                # What starting it costs is not what looking costs.
                time.sleep(_SETTLE_S if name != "nobody" else 0.0)
                found[name].append(_rate())
    alone = found["nobody"]
    for name, rates in found.items():
        ratio = statistics.median(x / y for x, y in zip(rates, alone, strict=True))
        memory = f", {_most[name]} MiB at the most" if name in _most else ""
        print(f"{name:18}{statistics.median(rates):>10,.0f} tasks/s, {ratio:.3f}{memory}")
    rayhpc.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
