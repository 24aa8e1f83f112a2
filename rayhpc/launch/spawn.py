"""Starts a node process and controls its life from outside.

Used by `embedded`, `run`, `start` and `cluster`.  The process is started first and gets its plan
afterwards, so that its interpreter starts while the caller still examines the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.fork import become_node
from rayhpc.launch.interpreter import interpreter_options, make_importable
from rayhpc.launch.private_fds import close_private, keep_private
from rayhpc.raylet.config import IN_ORDER

if TYPE_CHECKING:
    # Imported when needed: by then the other interpreter is already starting.
    from rayhpc.launch.engines.ray_plan import RayPlan
    from rayhpc.launch.node_plan import NodePlan
    from rayhpc.launch.sessions import SessionRecord

Wait = Callable[[float, int], object]

READY_S = 60.0
STOP_S = 15.0
# How long the fork server of a killed node may take to end what is left, and to clean up.
CLEAN_UP_S = 6.0
_STDERR_TAIL = 4000


@dataclass(frozen=True)
class Ready:
    """What a node reports when it is ready: its number and id in the cluster, its port."""

    node: int
    node_id: str
    port: int


class NodeProcess:
    """A node process, from before it has its plan until it ends.

    Args:
        detached: give it its own session (setsid), for a node that outlives its starter.
        environ: its environment; None is ours.
        forked: fork it from this process, which is single-threaded and has no user code.
    """

    _MODULE = "rayhpc.launch.node"

    def __init__(
        self,
        *,
        detached: bool = False,
        environ: dict[str, str] | None = None,
        forked: bool = False,
    ) -> None:
        environment = dict(os.environ if environ is None else environ)
        self._python_path = environment.get("PYTHONPATH")
        given = dict(environment)
        make_importable(environment)
        self._errors = _unnamed_file()
        self._process = subprocess.Popen(
            [sys.executable, *interpreter_options(), "-m", self._MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # A user's folder on the module path would hide modules of Python itself.
            cwd="/",
            env=environment,
            start_new_session=detached,
            # With `forked` this function never returns, so nothing is executed.
            preexec_fn=(lambda: become_node(given)) if forked else None,  # noqa: PLW1509
        )
        assert self._process.stdin is not None
        # A descriptor without a file object: it must close when we say so, and when we end.
        self._life = keep_private(os.dup(self._process.stdin.fileno()))
        self._process.stdin.close()
        self._plan: NodePlan | RayPlan | None = None

    @property
    def pid(self) -> int:
        """The node process's pid."""
        return self._process.pid

    def send(self, plan: NodePlan | RayPlan) -> None:
        """Send the process its plan.

        Raises:
            LaunchError: it has already ended.
        """
        from rayhpc.launch.node_plan import send_plan

        plan.python_path = self._python_path
        self._plan = plan
        try:
            send_plan(self._life, plan)
        except BrokenPipeError:
            raise self._ended_early() from None
        if not plan.tied:
            self._hang_up()

    def wait_ready(self, timeout_s: float = READY_S, wait: Wait | None = None) -> Ready:
        """Wait until the node is ready.

        Args:
            timeout_s: the longest time to wait, in seconds.
            wait: waits for so many seconds or until a descriptor is readable; may raise to give up.

        Raises:
            LaunchError: it cannot start; gives the reason and the exit code for the cause.
        """
        said = self._hear(timeout_s, wait or _wait)
        return Ready(said["node"], said["node_id"], said["port"])

    def record(self) -> SessionRecord:
        """The ready node's own record.  Raises LaunchError if it has ended."""
        from rayhpc.launch import sessions

        assert self._plan is not None
        record = sessions.read_record(Path(self._plan.base, self._plan.name))
        if record is None:
            raise self._ended_early()
        return record

    def poll(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for it to end; returns the exit code, or None after the timeout."""
        from rayhpc.machine.processes import open_pidfd

        # Popen's own wait polls every 50 ms; a pidfd reports at once, where supported.
        descriptor = open_pidfd(self.pid) if self._process.poll() is None else None
        if descriptor is not None and timeout_s is not None:
            _wait(timeout_s, descriptor)
        if descriptor is not None:
            os.close(descriptor)
            timeout_s = 0.0 if timeout_s is not None else None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float = STOP_S) -> int:
        """End the node and wait for it; it is killed (it is our child) if it takes too long."""
        code = self._end(timeout_s)
        self._close()
        return code

    def _end(self, timeout_s: float) -> int:
        self.let_go()
        # Without a plan there is nothing yet to shut down gracefully.
        code = self.wait(timeout_s) if self._plan is not None else None
        if code is None:
            self._process.kill()
            code = self._process.wait()
        if code < 0:
            self._wait_for_clean_up()
        return code

    def _wait_for_clean_up(self) -> None:
        """Wait until the fork server has ended as well; it holds the other end of this pipe.

        Whatever started us may kill what is left as soon as we end (slurmstepd does).
        """
        if self._process.stdout is not None and not self._process.stdout.closed:
            _wait(CLEAN_UP_S, self._process.stdout.fileno())

    def let_go(self) -> None:
        """Close the life pipe: a tied node ends by itself, and knows that we have not died."""
        if self._plan is not None and self._plan.tied:
            with contextlib.suppress(OSError):  # it has ended, or has been let go
                os.write(self._life, IN_ORDER)
        self._hang_up()

    def _hang_up(self) -> None:
        """Close the life pipe without a word."""
        close_private(self._life)
        self._life = -1  # the number may soon be another descriptor's

    def terminate(self) -> None:
        """Tell the node to end (SIGTERM), as `rayhpc stop` does."""
        self._process.terminate()

    def kill(self) -> None:
        """End the node's raylet at once, as a crash would (SIGKILL), and wait for it."""
        self._process.kill()
        self._process.wait()
        self.let_go()
        self._close()

    def detach(self) -> None:
        """Drop the process: it lives on without us."""
        self._close()
        # Popen would warn about a child that is still running, and keep it for reaping.
        self._process.returncode = 0

    def _hear(self, timeout_s: float, wait: Wait) -> dict[str, Any]:
        """The one line that the process writes when it is ready.  Raises LaunchError otherwise."""
        line = self._read_line(time.monotonic() + timeout_s, wait)
        if not line:
            raise self._ended_early()
        said: dict[str, Any] = json.loads(line)
        if not said.get("ok"):
            self.stop()
            raise LaunchError(said["error"], said.get("code", ExitCode.INTERNAL))
        return said

    def _give_up(self) -> None:
        """It takes too long: end it."""
        self._process.kill()

    def _read_line(self, deadline: float, wait: Wait) -> bytes:
        out = self._process.stdout
        assert out is not None
        while not _wait(0.0, out.fileno()):
            if time.monotonic() >= deadline:
                self._give_up()
                return b""
            wait(max(0.0, deadline - time.monotonic()), out.fileno())
        return out.readline()

    def _ended_early(self) -> LaunchError:
        """The error for a process that ended without reporting."""
        code = self._end(STOP_S)
        end = os.lseek(self._errors, 0, os.SEEK_END)
        tail = os.pread(self._errors, _STDERR_TAIL, max(0, end - _STDERR_TAIL))
        self._close()
        said = tail.decode(errors="replace").strip()
        return LaunchError(
            f"a node process did not start (exit code {code})"
            + (f"; it said:\n{said}" if said else "; it said nothing"),
            ExitCode.INTERNAL,
        )

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1


def _unnamed_file() -> int:
    """A file for the last output of a process that fails early."""
    return os.memfd_create("rayhpc-node", os.MFD_CLOEXEC)


def _wait(seconds: float, descriptor: int) -> bool:
    """Whether a descriptor becomes readable in time."""
    from rayhpc.machine.processes import readable

    return readable(descriptor, seconds)
