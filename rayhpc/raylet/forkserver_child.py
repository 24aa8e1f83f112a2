"""What a freshly forked worker does before it runs its entry.

Called by `forkserver_loop` in the child, once.  Never returns.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from typing import TextIO

from rayhpc.machine.processes import be_first_victim, die_with_parent
from rayhpc.raylet.forkserver_messages import Spawn

# The launcher or batch system sends these to every process of the job; only the raylet acts on
# them. A handler, not SIG_IGN, which programs started by a task would inherit.
LEFT_TO_THE_RAYLET = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def ignore_job_signals() -> None:
    """Leave the job's signals to the raylet, without affecting programs that are started."""
    for number in LEFT_TO_THE_RAYLET:
        signal.signal(number, _do_nothing)


def heed_in_forks() -> None:
    """In processes forked by user code, restore Python's meaning of signals.

    They are blocked during the fork, so that none reaches the handler that does nothing.
    """
    before: list[set[signal.Signals]] = []

    def hold_back() -> None:
        before.append(signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_RAYLET))  # type: ignore[arg-type]

    def let_come() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before.pop())

    def restore() -> None:
        for number in LEFT_TO_THE_RAYLET:
            if signal.getsignal(number) is _do_nothing:
                interrupt = number == signal.SIGINT
                signal.signal(number, signal.default_int_handler if interrupt else signal.SIG_DFL)
        _forget_executors()
        let_come()

    os.register_at_fork(before=hold_back, after_in_parent=let_come, after_in_child=restore)


def _forget_executors() -> None:
    """In a fork: executor threads do not exist here, and Python would wait for them at exit.

    It cannot even wait for the thread that forked, as in a call of a threaded actor.
    """
    module = sys.modules.get("concurrent.futures.thread")
    if module is not None:
        module._threads_queues.clear()


def run(entry: str, spawn: Spawn, streams: list[int], parent: int) -> None:
    """Run as worker `spawn.number`: call `entry` (module:function) with number and arguments."""
    code = 1
    try:
        _settle_in(spawn, streams, parent)
        code = _call(_load(entry), spawn)
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(code)


def apply_environ(changes: dict[str, str | None]) -> None:
    """Set environment variables; None removes one."""
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def replace_stream(target: int, descriptor: int) -> None:
    """Replace standard stream number `target` by `descriptor`."""
    os.dup2(descriptor, target, inheritable=True)
    os.close(descriptor)


def _settle_in(spawn: Spawn, streams: list[int], parent: int) -> None:
    if not die_with_parent(parent):
        os._exit(1)
    be_first_victim()
    # Its own process group: whatever user code starts ends with the worker.
    os.setpgid(0, 0)
    replace_stream(1, streams[0])
    replace_stream(2, streams[1])
    sys.stdout = _text_stream(1)
    sys.stderr = _text_stream(2)
    apply_environ(spawn.environ)
    if spawn.folder:
        os.chdir(spawn.folder)
    _new_randomness()
    heed_in_forks()
    gc.enable()


def _text_stream(number: int) -> TextIO:
    return open(
        number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _new_randomness() -> None:
    """Reseed: workers forked from one template must not draw the same random numbers."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _load(entry: str) -> Callable[[int, bytes], None]:
    module, _, name = entry.partition(":")
    function: Callable[[int, bytes], None] = getattr(importlib.import_module(module), name)
    return function


def _call(function: Callable[[int, bytes], None], spawn: Spawn) -> int:
    try:
        function(spawn.number, spawn.args)
    except SystemExit as leaving:
        if leaving.code is None:
            return 0
        if isinstance(leaving.code, int):
            return leaving.code & 0xFF
        print(leaving.code, file=sys.stderr)
        return 1
    return 0


def _leave(code: int) -> None:
    """Exit like an interpreter would, but without running the parent's finalization."""
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = code or 1
    os._exit(code)


def _do_nothing(*_: object) -> None:
    """Handle a signal by continuing."""
