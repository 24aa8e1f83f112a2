"""One task or batch script with everything it forks: the fake slurmstepd.

Forked by the controller and by srun; says its pid to the controller, which signals it and, to
end it, all its descendants.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

_SUBREAPER = 36


def spawn(
    command: Sequence[str],
    environ: Mapping[str, str],
    directory: str,
    files: tuple[int, int, int],
    tell: Callable[[int], None] = lambda pid: None,
) -> int:
    """Run a command under a keeper of its own; the keeper's pid, which ends as the command does."""
    keeper = os.fork()
    if keeper:
        tell(keeper)
        return keeper
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    os.setpgid(0, 0)
    _close_all_but(files)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    task = os.fork()
    if task == 0:
        _become(command, environ, directory, files)
    code = _keep(task)
    kill_descendants(os.getpid())
    os._exit(code)


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, the nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def signal_all(keepers: Iterable[int], number: int) -> None:
    """Signal everything below keepers once, as SLURM does with a container.

    srun, and with it the steps' keepers, is itself below the batch script's keeper.
    """
    for each in dict.fromkeys(each for pid in keepers for each in descendants(pid)):
        try:
            os.kill(each, number)
        except ProcessLookupError:
            continue


def kill_descendants(pid: int) -> None:
    """End everything below `pid`, however much it forks meanwhile."""
    while below := descendants(pid):
        for each in below:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()


def _close_all_but(files: tuple[int, ...]) -> None:
    """A keeper holds none of its parent's sockets."""
    for descriptor in range(3, 256):
        if descriptor not in files:
            try:
                os.close(descriptor)
            except OSError:
                continue


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _keep(task: int) -> int:
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == task:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(
    command: Sequence[str],
    environ: Mapping[str, str],
    directory: str,
    files: tuple[int, int, int],
) -> None:
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue
    for target, source in enumerate(files):
        os.dup2(source, target)
        os.set_inheritable(target, True)
    try:
        os.chdir(directory if os.path.isdir(directory) else "/tmp")
        os.execvpe(command[0], list(command), dict(environ))
    except OSError as error:
        os.write(2, f"slurmstepd: error: execve(): {command[0]}: {error.strerror}\n".encode())
    os._exit(2)
