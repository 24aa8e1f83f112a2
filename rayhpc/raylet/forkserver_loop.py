"""The fork server's loop: forks workers and templates, reports their ends, leaves no survivors.

Runs in a process that `forkserver.start` forked before there was any thread, and in each template.
Single-threaded, without a ZeroMQ context: only such a process may fork, and only its children can
ask the kernel to end with it.  When its raylet is gone (the socket pair closes) it ends its
workers; the server itself also removes the session's directory, since nobody else is left to do so.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable

import msgspec

from rayhpc.machine import process_title
from rayhpc.machine.processes import become_subreaper, die_with_parent, reap_child
from rayhpc.machine.removal import remove_session
from rayhpc.raylet import forkserver_child
from rayhpc.raylet import forkserver_messages as messages

END_PATIENCE_S = 5.0
# Sent by the kernel when the raylet's process ends; it only wakes the poll.
_PARENT_ENDED = signal.SIGUSR2


class RayletGoneError(Exception):
    """The raylet's end of the socket pair is closed."""


class FinishedError(Exception):
    """The raylet is shutting down gracefully."""


class Loop:
    """One fork server.

    Args:
        channel: the server's end of the socket pair to the raylet.
        entry: module:function that a worker runs.
        parent: the process whose child this is, and with which it ends.
        present: a descriptor that no child may keep open; -1: there is none.
    """

    def __init__(self, channel: socket.socket, entry: str, parent: int, present: int = -1) -> None:
        self._channel = channel
        self._present = present
        self._entry = entry
        self._parent = parent
        self._workers: set[int] = set()
        self._templates: set[int] = set()
        self._wake: tuple[int, int] = (-1, -1)

    def serve(self) -> bool:
        """Work until the raylet is gone, then end all children; True: it shut down gracefully."""
        self._arm()
        in_order = False
        try:
            self._check_parent()
            self._serve()
        except RayletGoneError:
            in_order = self._has_said_the_end()
        except FinishedError:
            in_order = True
        for pid in self._workers | self._templates:
            kill(pid)
        end_children()
        return in_order

    def send(self, event: msgspec.Struct) -> None:
        """Send an event to the raylet.

        Raises:
            RayletGoneError: nobody is there.
        """
        try:
            self._channel.send(messages.encode(event))
        except OSError as error:
            raise RayletGoneError from error

    def _has_said_the_end(self) -> bool:
        """Whether `Finish` is among the unread commands when an answer found nobody."""
        try:
            while data := self._channel.recv(messages.PACKET_BYTES, socket.MSG_DONTWAIT):
                if isinstance(messages.decode_command(data), messages.Finish):
                    return True
        except OSError:
            pass
        return False

    def _arm(self) -> None:
        """Make a child's end wake the poll."""
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _disarm(self) -> None:
        """In a child: disable everything of the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._wake[0])
        os.close(self._wake[1])
        self._channel.close()
        if self._present >= 0:
            os.close(self._present)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake[0]:
                    self._reap()
                else:
                    self._take_command()

    def _reap(self) -> None:
        try:
            os.read(self._wake[0], 4096)
        except BlockingIOError:
            pass
        self._check_parent()
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            if pid in self._workers:
                # As long as the dead leader is not reaped, no other group can get its number.
                kill(pid)
            _, status = os.waitpid(pid, 0)
            self._workers.discard(pid)
            self._templates.discard(pid)
            self.send(messages.Ended(pid, status))

    def _check_parent(self) -> None:
        """Detect the parent's end: other forks of the raylet's process may hold the channel."""
        if os.getppid() != self._parent:
            raise RayletGoneError

    def _take_command(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._channel,
                messages.PACKET_BYTES,
                messages.DESCRIPTORS_MAX,
                socket.MSG_CMSG_CLOEXEC,
            )
        except ConnectionError as error:
            raise RayletGoneError from error
        if not data:
            raise RayletGoneError
        command = messages.decode_command(data)
        if isinstance(command, messages.Spawn):
            self._spawn(command, descriptors)
        elif isinstance(command, messages.MakeTemplate):
            self._make_template(command, descriptors[0])
        elif isinstance(command, messages.Share):
            for wanted, descriptor in zip(command.numbers, descriptors, strict=True):
                os.dup2(descriptor, wanted, inheritable=False)
                os.close(descriptor)
        elif isinstance(command, messages.Signal):
            self._signal(command)
        else:
            raise FinishedError

    def _spawn(self, command: messages.Spawn, streams: list[int]) -> None:
        me = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self.send(messages.SpawnFailed(command.number, error.strerror or str(error)))
            pid = -1
        if pid == 0:
            self._disarm()
            forkserver_child.run(self._entry, command, streams, me)
        for descriptor in streams:
            os.close(descriptor)
        if pid > 0:
            self._workers.add(pid)
            self.send(messages.Spawned(command.number, pid))

    def _make_template(self, command: messages.MakeTemplate, channel: int) -> None:
        me = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            pid = -1  # the raylet sees its end closed
        if pid == 0:
            _leave_after(lambda: self._be_template(command, channel, me))
        os.close(channel)
        if pid > 0:
            self._templates.add(pid)

    def _be_template(self, command: messages.MakeTemplate, channel: int, parent: int) -> None:
        from rayhpc.raylet import forkserver_template

        self._disarm()
        if not die_with_parent(parent):
            return
        _silence()
        loop = Loop(socket.socket(fileno=channel), self._entry, parent)
        verdict = forkserver_template.prepare(command)
        try:
            loop.send(verdict)
        except RayletGoneError:
            return
        if isinstance(verdict, messages.Ready):
            loop.serve()

    def _signal(self, command: messages.Signal) -> None:
        if command.pid not in self._workers:
            return
        if command.signum == signal.SIGKILL:
            kill(command.pid)
            return
        try:
            os.kill(command.pid, command.signum)
        except ProcessLookupError:
            pass


def run(
    channel: socket.socket, session_dir: str, entry: str, parent: int, present: int = -1
) -> None:
    """Run the fork server of a session; returns when everything is over.

    Args:
        channel: the server's end of the socket pair.
        session_dir: removed when the raylet is gone.
        entry: module:function that a worker runs.
        parent: the pid of the raylet's process.
        present: kept open only by this process, so that others see when it has finished cleaning
            up.
    """
    become_subreaper()
    # Whoever kills the raylet's whole group (a NodeManager) leaves us to end what is in others.
    os.setpgid(0, 0)
    process_title.show("rayhpc fork server")
    forkserver_child.ignore_job_signals()
    if not die_with_parent(parent, _PARENT_ENDED):
        remove_session(session_dir)
        return
    nothing = os.open(os.devnull, os.O_RDONLY)
    forkserver_child.replace_stream(0, nothing)
    _warm_up(entry)
    loop = Loop(channel, entry, parent, present)
    if not loop.serve():
        remove_session(session_dir)


def end_children(keep: frozenset[int] = frozenset()) -> None:
    """Kill and reap every child of this process, and those it inherits meanwhile (bounded)."""
    deadline = time.monotonic() + END_PATIENCE_S
    while time.monotonic() < deadline:
        left = own_children() - keep
        if not left:
            return
        for pid in left:
            kill(pid)
        for pid in left:
            # Releasing its memory alone may take a tenth of a second.
            reap_child(pid, deadline - time.monotonic())


def kill(pid: int) -> None:
    """Kill a child of this process, and the group it leads."""
    for send in (os.killpg, os.kill):
        try:
            send(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def own_children() -> frozenset[int]:
    """The pids of this process's children, from the kernel's list."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children") as file:
            return frozenset(int(x) for x in file.read().split())
    except OSError:
        return frozenset()


def _warm_up(entry: str) -> None:
    """Import what every worker needs, and move it where the collector does not touch its pages."""
    gc.disable()
    importlib.import_module(entry.partition(":")[0])
    gc.collect()
    gc.freeze()


def _silence() -> None:
    """Discard what modules print while being imported: nobody reads it here."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _leave_after(action: Callable[[], None]) -> None:
    code = 1
    try:
        action()
        code = 0
    finally:
        os._exit(code)
