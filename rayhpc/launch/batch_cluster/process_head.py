"""A head that is a process of the user's on this machine, or on a login node reached by ssh.

Made by `heads`.  It goes on when the command that started it has ended, and when the user logs out.
Its process is noted when it is started, so that one which has no note of its own yet, or none any
more, is known to run or to have ended, and can be told to end.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rayhpc.batch.rendering import OUR_RAYHPC
from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch import sessions
from rayhpc.launch.batch_cluster.head import Condition, Head, Launch, Phase
from rayhpc.machine import processes, whole_file

_LOG, _PROCESS = "head.log", "head.process"
_SSH_S = 60.0
_SSH_FAILED = 255
# Shell text for this boot, and for when the process $pid started: nothing of one that has ended,
# with all of its threads, though nobody has reaped it yet.
_BOOT = "$(cat /proc/sys/kernel/random/boot_id)"
_ENDED = r"/^[ZXx]\( [^ ]*\)\{16\} 1 /d"
_STARTED = f'$(sed "s/.*) //; {_ENDED}" /proc/$pid/stat 2>/dev/null | cut -d" " -f20)'
# What another cluster or job around us would tell it.
_FOREIGN = ("RAYHPC_ADDRESS", "RAYHPC_JOB_DIR", "RAYHPC_EXIT_FILE")
# Whatever launcher is around us: it is a cluster of its own.
_ALONE = ("--rank=0", "--size=1", "--no-report")


class _Process(NamedTuple):
    """A head's process: where, and which one of all that had this pid."""

    hostname: str
    boot: str
    pid: int
    started: int


class ProcessHead(Head):
    """A head in a process.

    Args:
        folder: the cluster's folder.
        login: the host to log in to; None: this machine.
    """

    def __init__(self, folder: Path, login: str | None = None) -> None:
        super().__init__(folder)
        self._login = login
        self._process: subprocess.Popen[bytes] | None = None
        self.where = "on this machine" if login is None else f"on {login}"

    def start(self, launch: Launch) -> None:
        """Start it in a session of its own."""
        run = shlex.join([*OUR_RAYHPC, "run", *_ALONE, *launch.words])
        script = "\n".join([*launch.setup, f"exec {run}"])
        if self._login is None:
            self._start_here(script, launch.work_dir)
            return
        log, inner = shlex.quote(str(self.log())), shlex.quote(script)
        noted = shlex.quote(str(self.folder / _PROCESS))
        text = (
            f"cd {shlex.quote(launch.work_dir)} || exit\n"
            f"setsid bash -c {inner} >{log} 2>&1 </dev/null & pid=$!\n"
            f'echo "$HOSTNAME {_BOOT} $pid {_STARTED}" >{noted}'
        )
        done = self._ssh(self._login, ["bash", "-c", text])
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            reason = said[-1] if said else f"exit code {done.returncode}"
            is_lost = done.returncode == _SSH_FAILED
            code = ExitCode.HEAD_LOST if is_lost else ExitCode.CONFIGURATION
            raise LaunchError(f"the head cannot be started on {self._login}: {reason}", code)

    def condition(self) -> Condition:
        """Whether the process of its session runs."""
        note = self.note()
        if note is None:
            process = self._noted()
            if process is None or not self._runs(process):
                return Condition(Phase.GONE)
            return Condition(Phase.STARTING, f"process {process.pid} on {process.hostname}")
        alive = self._is_alive(note.hostname, note.session_dir)
        where = f"on {note.hostname}"
        if alive:
            return Condition(Phase.RUNNING, where)
        return Condition(Phase.GONE, f"its process {where} has ended")

    def command(self, words: Sequence[str], *, terminal: bool) -> list[str]:
        """As they are, or by ssh."""
        note = self.note()
        if note is None:
            raise LaunchError("the cluster has no head: `rayhpc up` starts it", ExitCode.HEAD_LOST)
        if note.hostname == socket.gethostname():
            return list(words)
        text = f"cd {shlex.quote(os.getcwd())} 2>/dev/null; exec {shlex.join(words)}"
        return [*_ssh_words(self._login or note.hostname, terminal), text]

    def stop(self) -> None:
        """Have it drain and end, as on Ctrl-C."""
        note = self.note()
        if note is None:
            process = self._noted()
            if process is not None:
                self._tell_to_end(process)
            return
        words = [*OUR_RAYHPC, "stop", "--session", note.session_dir]
        try:
            subprocess.run(
                self.command(words, terminal=False),
                check=False,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_SSH_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            text = f"the head {self.where} cannot be told to end: {error}"
            raise LaunchError(text, ExitCode.HEAD_LOST) from None

    def log(self) -> Path:
        """A file in the cluster's folder."""
        return self.folder / _LOG

    def _start_here(self, script: str, work_dir: str) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        log = os.open(self.log(), flags, 0o600)
        try:
            started = self._process = subprocess.Popen(
                ["bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=work_dir,
                env=environ,
                start_new_session=True,
            )
        finally:
            os.close(log)
        words = (
            socket.gethostname(),
            processes.boot_id(),
            started.pid,
            processes.start_time(started.pid) or 0,
        )
        whole_file.write(self.folder / _PROCESS, " ".join(map(str, words)).encode())

    def _noted(self) -> _Process | None:
        """The process that was started; None: none was, or it had ended at once."""
        try:
            hostname, boot, pid, started = (self.folder / _PROCESS).read_text().split()
            return _Process(hostname, boot, int(pid), int(started))
        except (OSError, ValueError):
            return None

    def _runs(self, process: _Process) -> bool:
        """Whether it still runs.  Raises LaunchError if its machine cannot be asked."""
        if process.hostname == socket.gethostname():
            if self._process is not None:
                self._process.poll()  # ours: it is over once it has been waited for
            is_same = processes.is_same_process(process.pid, process.started)
            return is_same and process.boot == processes.boot_id()
        return self._there(process, ":") == 0

    def _tell_to_end(self, process: _Process) -> None:
        """SIGTERM, if it runs.  Raises LaunchError if its machine cannot be asked."""
        if process.hostname != socket.gethostname():
            self._there(process, "kill -TERM $pid")
        elif process.boot == processes.boot_id():
            processes.send_signal(process.pid, process.started, signal.SIGTERM)

    def _there(self, process: _Process, act: str) -> int:
        """Run shell text on its machine if it runs there; the exit code is 1 if it does not."""
        known = f"{process.boot} {process.started}"
        text = f'pid={process.pid}; test "{_BOOT} {_STARTED}" = "{known}" || exit 1; {act}'
        return self._asked(process.hostname, ["bash", "-c", text])

    def _is_alive(self, hostname: str, session_dir: str) -> bool:
        if hostname == socket.gethostname():
            record = sessions.read_record(Path(session_dir))
            return record is not None and sessions.is_running(record)
        words = [*OUR_RAYHPC, "_machine", "alive", session_dir]
        return self._asked(hostname, words) == 0

    def _asked(self, hostname: str, words: Sequence[str]) -> int:
        """The exit code of a command on the head's machine.  Raises LaunchError if ssh fails."""
        done = self._ssh(self._login or hostname, words)
        if done.returncode == _SSH_FAILED:
            said = done.stderr.strip().splitlines()
            text = f"{hostname} cannot be asked: {said[-1] if said else 'ssh failed'}"
            raise LaunchError(text, ExitCode.HEAD_LOST)
        return done.returncode

    def _ssh(self, host: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*_ssh_words(host, False), shlex.join(words)],
                check=False,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_SSH_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LaunchError(f"ssh {host}: {error}", ExitCode.HEAD_LOST) from None


def _ssh_words(host: str, terminal: bool) -> list[str]:
    return ["ssh", *(["-t"] if terminal else []), "-o", "BatchMode=yes", host]
