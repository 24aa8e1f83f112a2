"""`python -m rayhpc.launch.node`: one node of a cluster.

Started by `spawn.py`, which sends its plan through standard input; that pipe is then the life pipe,
and one line of readiness goes to standard output.  Before it has a ZeroMQ context or a thread it
forks the head, on the head's node, and the fork server; then it becomes the raylet.  At the end it
removes the session's directory.  Never reads a secret from arguments or environment.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.head.config import FOR_GOOD
from rayhpc.launch import leftovers, sessions
from rayhpc.launch.head_keeper import HeadKeeper
from rayhpc.launch.node_plan import NodePlan, receive_plan
from rayhpc.launch.private_fds import close_private, keep_private, release
from rayhpc.machine import affinity, limits, process_title, processes, shared_uid
from rayhpc.machine.signals import take_all_again
from rayhpc.wire import keys

HEAD_START_S = 20.0
_LOG_BYTES = 1 << 20
_DESCRIPTORS = 128
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main() -> int:
    """Receive a plan and run it; returns the process's exit code."""
    take_all_again()
    # Ctrl-C reaches the whole foreground group, the scheduler's signals the whole job; whoever
    # acts on them installs a handler later.  Not SIG_IGN, which users' subprocesses would inherit.
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, _do_nothing)
    ready = keep_private(os.dup(1))
    life = keep_private(os.dup(0))
    _redirect(os.devnull, os.O_RDONLY, 0)
    os.dup2(2, 1)
    gc.disable()  # all that is loaded stays: to look through it again and again takes 15 ms
    _preload()
    plan = receive_plan(life)
    if plan is None:
        return 0  # our starter is gone
    if plan.head is not None:
        _preload_head()
    # The collector would also write to these pages, which our forks share.
    gc.freeze()
    gc.enable()
    try:
        return _NodeProcess(plan, ready, life).run()
    except Exception as error:
        message, code = _in_words(error, plan)
        _report(ready, message, code)
        return code


def _in_words(error: Exception, plan: NodePlan) -> tuple[str, int]:
    """The message for a node that cannot start, and its exit code."""
    if isinstance(error, LaunchError):
        return str(error), error.code
    if isinstance(error, PermissionError):
        return str(error), ExitCode.PERMISSION
    if isinstance(error, OSError) and error.errno in _FULL:
        message = (
            f"the session's directory {plan.base}/{plan.name} cannot be written to: "
            f"{error.strerror}; make room there, or set RAYHPC_TMPDIR to another directory on "
            "this node's own disk"
        )
        return message, ExitCode.PERMISSION
    traceback.print_exception(error)
    return f"the node could not start: {error!r}", ExitCode.INTERNAL


class _NodeProcess:
    """One session on this machine, from creating its directory to removing it."""

    def __init__(self, plan: NodePlan, ready: int, life: int) -> None:
        self._plan = plan
        self._ready = ready
        self._life = life
        self._path = Path(plan.base, plan.name)
        self._keeper = None
        if plan.head is not None:
            self._keeper = HeadKeeper(plan.head, plan.launcher is None)

    def run(self) -> int:
        _prepare_process(self._plan)
        leftovers.sweep(os.environ)
        _, lock = sessions.make_directory(Path(self._plan.base), self._plan.name)
        keep_private(lock)
        try:
            return self._live()
        finally:
            if self._keeper is not None:
                self._keeper.end()
            self._keep_logs()
            self._remove()

    def _live(self) -> int:
        from rayhpc.raylet import forkserver, main

        plan = self._plan
        self._write_record()
        _redirect(str(self._path / "logs" / "stderr.log"), os.O_WRONLY | os.O_CREAT, 2)
        os.dup2(2, 1)
        keeper = self._keeper
        head_ready = -1 if keeper is None else keeper.fork(self._become_head)
        # It shows our starter that a fork server which outlives us has finished cleaning up.
        workers = forkserver.start(str(self._path), present=release(self._ready))
        keep_private(self._ready)
        # Only from here on: the fork server keeps the user's umask, which is for the user's files.
        os.umask(0o077)
        if keeper is not None:
            endpoints = _endpoints(head_ready)
            keeper.listens(endpoints)
            plan.raylet.cluster = replace(plan.raylet.cluster, head_endpoints=endpoints)
            self._write_record()
        life = self._life if plan.tied else None
        if life is None:
            close_private(self._life)
        signals = plan.launcher is None
        return main.run(plan.raylet, workers, self._ready, life, signals=signals, keeper=keeper)

    def _become_head(self, ready: int, life: int) -> None:
        os.umask(0o077)
        _become(lambda: _run_head(self._plan, ready, life))

    def _write_record(self) -> None:
        plan = self._plan
        cluster = plan.raylet.cluster
        record = sessions.record_of_this_process(
            self._path,
            cluster_id=cluster.cluster_id,
            endpoints=[f"{ip}:{port}" for ip, port in cluster.head_endpoints],
            node_ip=plan.raylet.node_ip,
            is_head=plan.head is not None,
            kind=plan.kind,
            node_id=plan.raylet.node_id,
            job=plan.job,
            launcher=plan.launcher,
        )
        sessions.write_record(record)
        if plan.link_from and plan.link_from != plan.base:
            link = Path(plan.link_from, plan.name)
            if not link.is_symlink():
                link.symlink_to(self._path)

    def _keep_logs(self) -> None:
        if self._plan.logs_to:
            target = Path(self._plan.logs_to)
            prefix = f"{self._plan.raylet.rank:05}-{self._plan.raylet.hostname}"
            try:
                copy_logs((self._path / "logs").iterdir(), target, prefix)
            except OSError as error:
                print(f"cannot copy logs to {target}: {error}", file=sys.stderr)

    def _remove(self) -> None:
        leftovers.remove(self._path)
        if self._plan.link_from and self._plan.link_from != self._plan.base:
            Path(self._plan.link_from, self._plan.name).unlink(missing_ok=True)
        if self._plan.head is not None:
            keys.remove(self._plan.head.cluster_id)


def _preload() -> None:
    """Import what the raylet needs, while our starter is still making the plan."""
    import rayhpc.raylet.forkserver
    import rayhpc.raylet.main  # noqa: F401


def _preload_head() -> None:
    """Import what only the head's node needs, before the fork: the pages are then shared."""
    import rayhpc.head.main  # noqa: F401


def _prepare_process(plan: NodePlan) -> None:
    limits.raise_nofile()
    # What a node opens before it does anything; later shortages it reports itself.
    problems = limits.check_budget(limits.read_limits(), descriptors=_DESCRIPTORS, threads=0)
    if problems:
        raise LaunchError(problems[0], ExitCode.CONFIGURATION)
    if plan.raylet.ipc_key is not None:
        os.environ[shared_uid.VARIABLE] = "1"  # for what tasks start
        shared_uid.hide_memory()
    process_title.prepare()
    process_title.show("rayhpc raylet")
    if plan.affinity:
        affinity.take_cpus(plan.affinity)
    if plan.python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = plan.python_path
    os.chdir("/")


def _run_head(plan: NodePlan, ready: int, life: int) -> int:
    from rayhpc.head import main

    assert plan.head is not None
    process_title.show("rayhpc head")
    code = main.run(plan.head, ready, life, signals=plan.launcher is None)
    if code in FOR_GOOD:
        # The raylet's process removes it as well, but may have been killed.
        keys.remove(plan.head.cluster_id)
    return code


def _become(body: Callable[[], int]) -> None:
    """Run `body` as this whole forked process, and never return."""
    code = int(ExitCode.INTERNAL)
    try:
        code = body()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _endpoints(descriptor: int) -> list[tuple[str, int]]:
    """Wait for the head's line.  Raises LaunchError if it cannot start."""
    release(descriptor)
    with os.fdopen(descriptor, "rb") as file:
        line = file.readline() if processes.readable(file.fileno(), HEAD_START_S) else b""
    if not line:
        raise LaunchError("the head did not start; its log, if any, is part of the message above")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise LaunchError(answer["error"], answer.get("code", ExitCode.INTERNAL))
    return [(str(ip), int(port)) for ip, port in answer["endpoints"]]


def copy_logs(files: Iterable[Path], target: Path, prefix: str) -> None:
    """Copy the end of each log, at most a megabyte, prefixed with the node's rank and name."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in sorted(files):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _LOG_BYTES))
                (target / f"{prefix}-{path.name}").write_bytes(file.read())


def _report(ready: int, message: str, code: int) -> None:
    """Tell our starter; the pipe may be gone, or the raylet may have closed it."""
    line = json.dumps({"error": message, "code": int(code)}) + "\n"
    try:
        os.write(ready, line.encode())
    except OSError:
        print(message, file=sys.stderr)


def _redirect(path: str, flags: int, descriptor: int) -> None:
    opened = os.open(path, flags | os.O_APPEND, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)


def _do_nothing(signum: int, frame: object) -> None:
    """Handler for a signal meant for other processes."""


if __name__ == "__main__":
    sys.exit(main())
