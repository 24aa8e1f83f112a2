"""A running program, its cluster and all their processes, to be ended in every way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rayhpc.launch import sessions
from rayhpc.machine import processes, scratch
from tests.launch.processes import Known, family, left_of, names_in

ROOT = Path(__file__).parents[2]
WITHIN_S = 60.0


class Scene:
    """`tests.ends.program`, started with sessions in a directory of the test's own.

    Attributes:
        program: the driver, leader of a process group of its own.
        raylet, head, server, template, worker, actor: the pids of its cluster's processes.
        known: every process with its start time, also what the user's code has started.
    """

    def __init__(self, base: Path, how: str, address: str = "local") -> None:
        self.program = start(base, how, address)
        assert self.program.stdout is not None
        self._lines = Lines(self.program.stdout.fileno())
        facts = json.loads(self.line())
        self.folder = Path(facts["session_dir"])
        self.sessions = self.folder.parent
        record = sessions.read_record(self.folder)
        assert record is not None
        self.raylet = record.pid
        self.worker: int = facts["worker"]
        self.actor: int = facts["actor"]
        self.template = parent_of(self.actor)
        self.server = parent_of(self.template)
        assert parent_of(self.server) == self.raylet
        (self.head,) = children(self.raylet) - {self.server}
        if how == "wait":
            assert self.line() == "waiting"
        self.known: Known = {**family(self.program.pid), **family(self.raylet)}
        for pid in facts["children"]:
            self.known |= family(pid)

    def line(self) -> str:
        """What the program says next."""
        return self._lines.next(WITHIN_S)

    def go(self) -> None:
        """Let a program end that waits for that."""
        assert self.program.stdin is not None
        self.program.stdin.write(b"go\n")
        self.program.stdin.flush()

    def ends(self) -> int:
        """The program's exit code (minus the signal's number if one ended it)."""
        return self.program.wait(WITHIN_S)

    def errors(self) -> dict[str, str]:
        """How each of the program's ways to wait has ended."""
        found: dict[str, str] = json.loads(self.line())
        return found

    def left(self) -> list[str]:
        """What there still is of the session: processes, directories, sockets."""
        found = left_of(self.known, WITHIN_S)
        deadline = time.monotonic() + WITHIN_S
        while names_in(self.sessions) and time.monotonic() < deadline:
            time.sleep(0.01)
        return [*found, *names_in(self.sessions)]

    def close(self) -> None:
        """End what a failed test has left."""
        for pid, started in self.known.items():
            processes.send_signal(pid, started, signal.SIGKILL)
        self.program.wait()
        for stream in (self.program.stdin, self.program.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def start(base: Path, how: str, address: str) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), scratch.VARIABLE: str(base)}
    environ.pop("RAYHPC_ADDRESS", None)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ends.program", how, address],
        env=environ,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


class Lines:
    """Lines from a pipe, each waited for at most so long (a file object's buffer hides them)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = b""

    def next(self, within_s: float) -> str:
        """The next line; fails when there is none in time, or there is no more."""
        deadline = time.monotonic() + within_s
        while b"\n" not in self._data:
            left = max(0.0, deadline - time.monotonic())
            there = processes.readable(self._descriptor, left)
            assert there, f"the program has said nothing for {within_s:g} s"
            more = os.read(self._descriptor, 65536)
            assert more, f"the program has ended; it said last: {self._data!r}"
            self._data += more
        line, _, self._data = self._data.partition(b"\n")
        return line.decode()


def parent_of(pid: int) -> int:
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 1 :].split()[1])


def children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        text = Path(f"/proc/{pid}/task/{task}/children").read_text()
        found |= {int(x) for x in text.split()}
    return found
