"""The head's process, as the node process beside it sees it: started, ended, started again.

Used by `node` and by the raylet's loop, which watches what `attach` names.  The first head is
forked while this process is bare; a later one is executed (`restarted_head`), for by then the
raylet has threads.  What it needs, the cluster's secrets included, has stayed in this process's
memory, and reaches it through a pipe.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable

from rayhpc.head.config import HeadConfig
from rayhpc.launch.head_keeping import HeadKeeping
from rayhpc.launch.interpreter import interpreter_options, make_importable
from rayhpc.launch.node_plan import RestartPlan, send_plan
from rayhpc.launch.private_fds import close_private, keep_private
from rayhpc.machine import processes

logger = logging.getLogger("rayhpc")

_MODULE = "rayhpc.launch.restarted_head"
_END_S = 5.0
# Its last descriptor is closed a moment before it can be reaped.
_REAP_S = 1.0

Watch = Callable[[int, Callable[[], None]], None]


class HeadKeeper:
    """One cluster's head, in one process after another.

    Args:
        config: what each of them needs; its endpoints are filled in once the first one listens.
        signals: SIGTERM ends the cluster (False: signals are the launcher's business).
    """

    def __init__(self, config: HeadConfig, signals: bool) -> None:
        self._config = config
        self._signals = signals
        self._keeping = HeadKeeping(time.monotonic)
        self._pid = 0
        self._life = -1
        # Readable when the head says something, and when it has ended.
        self._said = -1
        self._text = b""
        self._watch: Watch | None = None
        self._unwatch: Callable[[int], None] = lambda descriptor: None
        self._on_given_up: Callable[[str], None] = lambda why: None

    # -- the first one ---------------------------------------------------------------------------
    def fork(self, body: Callable[[int, int], None]) -> int:
        """Fork the first head, which runs `body(ready, life)` and never returns.

        Returns:
            The descriptor from which its readiness is read.
        """
        ready, ready_end = os.pipe()
        life, life_end = os.pipe()
        alive, alive_end = os.pipe()
        self._life, self._said = keep_private(life_end), keep_private(alive)
        keep_private(ready)
        self._pid = os.fork()
        if self._pid == 0:
            body(ready_end, life)
        for descriptor in (ready_end, life, alive_end):
            os.close(descriptor)
        return ready

    def listens(self, endpoints: list[tuple[str, int]]) -> None:
        """The first head is ready; the next ones listen at the same place."""
        self._config.endpoints = endpoints

    # -- for the raylet's loop -------------------------------------------------------------------
    def attach(
        self, watch: Watch, unwatch: Callable[[int], None], on_given_up: Callable[[str], None]
    ) -> None:
        """From now on a head that ends is started again.

        Args:
            watch: has a callback called whenever a descriptor is readable.
            unwatch: the inverse of `watch`.
            on_given_up: called with the reason when the head is not started again.
        """
        self._watch, self._unwatch, self._on_given_up = watch, unwatch, on_given_up
        watch(self._said, self._hear)

    def children(self) -> frozenset[int]:
        """The head's process, which is nobody else's to end."""
        return frozenset((self._pid,)) if self._pid else frozenset()

    def deadline(self) -> float:
        """When `on_time` must be called; infinity: never."""
        return self._keeping.start_at

    def on_time(self) -> None:
        """Start the head again, if it is time."""
        if time.monotonic() >= self._keeping.start_at:
            self._keeping.started()
            self._start()

    def resume(self) -> str:
        """Start the head again because the user asks; returns why not (empty: it is done)."""
        if self._pid:
            return (
                f"The head of this cluster is running (process {self._pid}): there is nothing to "
                "resume."
            )
        self._keeping.asked()
        self.on_time()
        return ""

    # -- the end ---------------------------------------------------------------------------------
    def end(self) -> None:
        """Close the head's life pipe and wait for it to end; it is our child, so kill is safe."""
        self._keeping.start_at = math.inf
        close_private(self._life)
        if self._pid and not processes.reap_child(self._pid, _END_S):
            os.kill(self._pid, signal.SIGKILL)
            processes.reap_child(self._pid, _END_S)
        self._pid = 0

    # -- details ---------------------------------------------------------------------------------
    def _start(self) -> None:
        import subprocess  # 2 ms of every node's start, for a head that seldom ends

        life, life_end = os.pipe()
        said, said_end = os.pipe()
        environment = dict(os.environ)
        make_importable(environment)
        process = subprocess.Popen(
            [sys.executable, *interpreter_options(), "-m", _MODULE],
            stdin=life,
            stdout=said_end,
            cwd="/",
            env=environment,
        )
        os.close(life)
        os.close(said_end)
        self._pid, self._life, self._said = process.pid, keep_private(life_end), keep_private(said)
        self._text = b""
        # It is reaped here, not by its object, which would warn that it still runs.
        process.returncode = 0
        logger.warning("the head is started again, as process %d", process.pid)
        assert self._watch is not None
        self._watch(said, self._hear)
        send_plan(life_end, RestartPlan(self._config, self._signals))

    def _hear(self) -> None:
        data = os.read(self._said, 65536)
        if data:
            self._text += data
            return
        self._unwatch(self._said)
        close_private(self._said)
        close_private(self._life)
        status = _reaped(self._pid)
        self._pid = 0
        self._keeping.ended(status, _refusal(self._text))
        logger.warning("%s", self._keeping.why)
        if self._keeping.given_up:
            self._on_given_up(self._keeping.why)


def _reaped(pid: int) -> int:
    """How a child has ended, as waitpid(2) tells it."""
    deadline = time.monotonic() + _REAP_S
    try:
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return status
            if time.monotonic() >= deadline:
                os.kill(pid, signal.SIGKILL)
                return os.waitpid(pid, 0)[1]
            os.sched_yield()
    except ChildProcessError:
        return signal.SIGKILL


def _refusal(text: bytes) -> str:
    """Why a head that was started again could not serve; empty: it could."""
    for line in text.splitlines():
        said = json.loads(line)
        if "error" in said:
            return str(said["error"])
    return ""
