"""`ray start --block` as a child: how it is started, what it prints, whether it runs.

Used by `ray_keepers`.  It ends with the thread that started it (PDEATHSIG), as Ray's daemons end
with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from rayhpc.exit_codes import exit_code_of, in_words
from rayhpc.launch.engines import ray_plan
from rayhpc.launch.engines.ray_plan import RayPlan
from rayhpc.machine import processes
from rayhpc.machine.signals import default_in_child

_TAIL_BYTES = 4000
_HEAD = ["--head", "--include-dashboard", "false"]
_START = str(Path(__file__).with_name("ray_start.py"))
# Ctrl-C reaches the whole foreground group, a scheduler's warning the whole job; neither is meant
# for Ray.  Its daemons do the same with SIGINT.
NOT_FOR_RAY = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class RayProcess:
    """`ray start --block`, and its output.

    Args:
        plan: the node's.
        address: that of Ray's head; empty: this node hosts it.
        token: the cluster's; written to the plan's token file.
    """

    def __init__(self, plan: RayPlan, address: str, token: str) -> None:
        _write_private(plan.token_file, token)
        folder = plan.path / "ray"
        folder.mkdir(mode=0o700)
        me = os.getpid()
        part = ["--address", address] if address else [*_HEAD, "--port", str(plan.port)]
        self._log = plan.path / "logs" / "start.log"

        def prepare() -> None:
            default_in_child()
            signal.pthread_sigmask(signal.SIG_BLOCK, NOT_FOR_RAY)
            if not processes.die_with_parent(me, signal.SIGKILL):
                os._exit(128 + signal.SIGKILL)

        self._process = subprocess.Popen(
            [
                *(plan.install.interpreter, _START, str(plan.path), "start", "--block"),
                *("--temp-dir", str(folder), "--disable-usage-stats"),
                *(*part, *plan.words),
            ],
            env=ray_plan.with_token(plan.environ, plan.token_file),
            cwd=plan.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Safe: what it calls is loaded, and ZeroMQ's threads, if there are any, run no Python.
            preexec_fn=prepare,  # noqa: PLW1509
        )
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        os.set_blocking(self.output, False)
        self._current = folder / "ray_current_cluster"

    def listen(self) -> bool:
        """Copy its output to its log; False: there will be no more."""
        try:
            data = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return True
        with self._log.open("ab") as file:
            file.write(data)
        return bool(data)

    def address(self) -> str:
        """The address of Ray's head, once this node is up; empty before."""
        try:
            return self._current.read_text().strip()
        except FileNotFoundError:
            return ""

    def ended(self) -> str:
        """How it has ended, in words, with its last output; empty while it runs."""
        code = self._process.poll()
        return "" if code is None else f"{in_words(exit_code_of(code))}{self.tail()}"

    def tail(self) -> str:
        """Its last output, for a message."""
        self.listen()
        try:
            text = self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
        except FileNotFoundError:
            text = ""
        return f"; it said:\n{text}" if text else "; it said nothing"

    @property
    def pid(self) -> int:
        """The pid of `ray start`."""
        return self._process.pid


def _write_private(path: str, text: str) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
