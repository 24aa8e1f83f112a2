"""A cluster's machines together: reaching them all at once, and the plan for them.

Used by the commands.  A context: connections are opened as they are wanted and closed at its end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from rayhpc.clusters import record
from rayhpc.clusters.hosts import Host
from rayhpc.clusters.machine import Machine, Tell
from rayhpc.clusters.patterns import Patterns
from rayhpc.clusters.plan import Found, Wanted
from rayhpc.clusters.read import ClusterFile
from rayhpc.clusters.record import RecordFolder
from rayhpc.clusters.remote import scripts
from rayhpc.clusters.remote.connection import Connection, Held
from rayhpc.clusters.remote.login import Login
from rayhpc.clusters.remote.trouble import RemoteError
from rayhpc.clusters.stages import Stages, prints_of, stages_of

# sshd drops the 11th login that has not finished (MaxStartups); a jump host sees them all.
LOGINS_PER_JUMP_HOST = 8
_AT_ONCE = 32
_LOCK_S = 30.0
_TRY_AGAIN_S = 1.0
T = TypeVar("T")


class Launcher:
    """The machines of one cluster.

    Args:
        file: the cluster's YAML.
        hosts: its machines, the head first, and those that it has no more.
        folder: where this user's machine keeps its record of it.
        tell: shows one line about one machine.
        patience_s: machines that have only just been started may take so long to let us in.
    """

    def __init__(
        self,
        file: ClusterFile,
        hosts: Sequence[Host],
        folder: RecordFolder,
        tell: Tell,
        patience_s: float = 0.0,
    ) -> None:
        self.file = file
        self.folder = folder
        self.patterns = Patterns(tuple(file.config.rsync_exclude), tuple(file.config.rsync_filter))
        self._sockets = Path(tempfile.mkdtemp(prefix="rayhpc-ssh-", dir=_short_folder()))
        self._jumps: dict[str, threading.Semaphore] = {}
        self._opened: list[Machine] = []
        self._patient_until = time.monotonic() + patience_s
        self._hosts = hosts
        self.machines = [self._machine(number, host, tell) for number, host in enumerate(hosts)]

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(lambda each: each.connection.close(), self._opened))
        shutil.rmtree(self._sockets, ignore_errors=True)

    @property
    def head(self) -> Machine:
        """The head's machine."""
        return next(each for each in self.machines if each.host.is_head)

    def open(self, machine: Machine) -> None:
        """Log in to one machine, not with too many others at once.  Raises RemoteError.

        Nothing is done for one that has been opened.
        """
        if machine in self._opened:
            return
        while True:
            try:
                with self._jumps[_jump_of(machine.connection.login)]:
                    machine.open()
                break
            except RemoteError as error:
                if not error.may_pass or time.monotonic() > self._patient_until:
                    raise
            time.sleep(_TRY_AGAIN_S)  # nobody can tell us when its sshd listens
        self._opened.append(machine)

    def ask_all(self) -> dict[str, Found]:
        """What each machine says about itself, or why it cannot be asked."""

        def ask(machine: Machine) -> Found:
            try:
                self.open(machine)
                return machine.ask()
            except RemoteError as error:
                return Found(trouble=error.sentence)

        found = self.on_all(self.machines, ask)
        return {each.host.name: found[each] for each in self.machines}

    def on_all(
        self, machines: Sequence[Machine], action: Callable[[Machine], T]
    ) -> dict[Machine, T]:
        """Do something on several machines at once."""
        if not machines:
            return {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(machines, pool.map(action, machines), strict=True))

    def stages(self, host: Host) -> Stages:
        """What is done on a machine."""
        return stages_of(self.file.config, host)

    def wanted(self, hosts: Sequence[Host]) -> list[Wanted]:
        """What the file wants of these machines.

        Raises:
            ClusterFileError: a file to copy cannot be read.
        """
        try:
            return [
                Wanted(
                    each.name,
                    each.node_type,
                    each.is_head,
                    prints_of(self.stages(each), each, self.patterns),
                )
                for each in hosts
            ]
        except OSError as error:
            sentence = f"{error.filename} cannot be read: {error.strerror}"
            raise self.file.fault(("file_mounts",), sentence) from None

    @contextmanager
    def cluster_lock(self) -> Iterator[None]:
        """Keep other machines' and users' commands from changing the cluster meanwhile.

        The lock is on the head's machine, and ends with our connection to it.

        Raises:
            ClusterBusyError: another has it.
            RemoteError: the head's machine cannot be reached.
        """
        name = self.file.config.cluster_name
        held = self.head.connection.hold(scripts.hold_lock(name), _LOCK_S)
        if not isinstance(held, Held):
            if held.code == scripts.LOCKED:
                raise record.busy(name)
            raise RemoteError(self.head.host.name, "no lock can be had there", tail=held.tail)
        try:
            yield
        finally:
            held.release()

    def open_head(self) -> bool:
        """Log in to the head's machine; False if it cannot be reached."""
        try:
            self.open(self.head)
        except RemoteError:
            return False
        return True

    def _machine(self, number: int, host: Host, tell: Tell) -> Machine:
        login = self._login(host)
        self._jumps.setdefault(_jump_of(login), threading.Semaphore(LOGINS_PER_JUMP_HOST))
        connection = Connection(login, self._sockets, str(number))
        name = self.file.config.cluster_name
        return Machine(name, host, connection, self.folder.note, tell)

    def _login(self, host: Host) -> Login:
        auth = self.file.config.auth
        through = auth.ssh_proxy_command
        if through is None and host.is_behind_head:
            head = next(each for each in self._hosts if each.is_head)
            through = self._login(head).through()
        return Login(
            host=host.login,
            user=host.user,
            port=host.port,
            private_key=auth.ssh_private_key,
            proxy_command=through,
            known_hosts=self.folder.known_hosts,
            identity=host.identity,
        )


def _short_folder(environ: Mapping[str, str] = os.environ) -> str:
    """Where sockets may lie: AF_UNIX allows 107 bytes, and ssh adds some of its own."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return runtime if 0 < len(runtime) < 40 and os.path.isdir(runtime) else "/tmp"


_known_jumps: dict[Login, str] = {}


def _jump_of(login: Login) -> str:
    """What logins to this machine go through, by ssh's own account of its configuration."""
    if login not in _known_jumps:
        words = login.words()
        words[1:1] = ["-G"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)
        through = [x for x in done.stdout.splitlines() if x.startswith(("proxyjump ", "proxycomm"))]
        # Directly: every machine has its own sshd.
        _known_jumps[login] = " ".join(through) or login.host
    return _known_jumps[login]
