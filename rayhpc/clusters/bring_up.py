"""Carries out the plan of `up`: the head and the workers are set up at once, then the head starts,
then the workers.

Called by `cli.up`.  A machine's failure ends its own row; the head's ends the workers' as well,
since they would have nothing to join.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rayhpc.clusters import copying, record
from rayhpc.clusters.launcher import Launcher
from rayhpc.clusters.machine import START_S, Machine, Tell
from rayhpc.clusters.plan import Action, Found, Row, Wanted
from rayhpc.clusters.remote.trouble import RemoteError


@dataclass(frozen=True)
class Outcome:
    """What became of a row; `error` None: it was done."""

    row: Row
    error: RemoteError | None = None


class _Head:
    """What the workers wait for: the head's address and key, or its failure."""

    def __init__(self) -> None:
        self._known = threading.Event()
        self.key = b""
        self.address = ""
        self.failed = False

    def ready(self, key: bytes, address: str) -> None:
        self.key, self.address = key, address
        self._known.set()

    def fail(self) -> None:
        self.failed = True
        self._known.set()

    def wait(self, machine: Machine, limit_s: float) -> None:
        if not self._known.wait(limit_s):
            raise RemoteError(machine.host.name, f"the head did not start within {limit_s:g} s")
        if self.failed:
            raise RemoteError(machine.host.name, "not started, because the head was not")


class BringUp:
    """One `up`.

    Args:
        launcher: the cluster's machines.
        wanted: what is wanted of each.
        tell: shows one line about one machine.
    """

    # The head's set-up commands may take this long before workers give it up.
    HEAD_S = 4 * 3600.0

    def __init__(self, launcher: Launcher, wanted: Sequence[Wanted], tell: Tell) -> None:
        self._launcher = launcher
        self._prints = {each.name: each.prints for each in wanted}
        self._tell = tell
        self._head = _Head()
        self._copies: list[tuple[str, Path]] = []
        self._folder = ""

    @property
    def address(self) -> str:
        """Where the head listens; empty if it does not run."""
        return self._head.address

    def run(self, rows: Sequence[Row], found: dict[str, Found]) -> list[Outcome]:
        """Do it all; one outcome per row."""
        by_name = {each.host.name: each for each in self._launcher.machines}
        by_machine = {by_name[row.name]: row for row in rows}
        self._folder = tempfile.mkdtemp(prefix="rayhpc-synced-")
        try:
            done = self._launcher.on_all(
                list(by_machine), lambda machine: self._one(machine, by_machine[machine], found)
            )
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        return [done[machine] for machine in by_machine]

    def _one(self, machine: Machine, row: Row, found: dict[str, Found]) -> Outcome:
        began = time.monotonic()
        try:
            self._act(machine, row, found[row.name])
        except RemoteError as error:
            return Outcome(row, error)
        except OSError as error:
            what = f"{error.filename or 'a file here'}: {error.strerror or error}"
            return Outcome(row, RemoteError(row.name, what))
        finally:
            if row.is_head and not self._head.address:
                self._head.fail()
        if row.action is Action.KEEP:
            self._launcher.folder.note(row.name, record.now("running"))
        if row.acts:
            ready = "stopped" if row.action is Action.STOP else "ready"
            self._tell(row.name, f"{ready} after {time.monotonic() - began:.1f} s")
        return Outcome(row)

    def _act(self, machine: Machine, row: Row, found: Found) -> None:
        if row.action is Action.UNKNOWN:
            raise RemoteError(row.name, row.why)
        if row.action is Action.STOP:
            machine.stop()
            machine.forget()
            return
        if row.sync or row.setup:
            stages = self._launcher.stages(machine.host)
            machine.prepare(stages, self._launcher.patterns, sync=row.sync, setup=row.setup)
        if row.starts:
            self._start(machine, row, found)
        if row.acts:
            machine.save(self._prints[row.name])
        if row.is_head and not row.starts:
            self._tell_workers(machine)

    def _start(self, machine: Machine, row: Row, found: Found) -> None:
        if found.alive:
            machine.stop("restart")
        stages = self._launcher.stages(machine.host)
        head_ip = self._launcher.head.host.name
        if row.is_head:
            machine.start(stages.start, head_ip, b"", "")
            self._tell_workers(machine)
            return
        if not self._head.address:
            machine_waits = record.now("waiting for the head")
            self._launcher.folder.note(row.name, machine_waits)
        self._head.wait(machine, self.HEAD_S + START_S)
        machine.receive_synced(self._copies, self._launcher.patterns)
        machine.start(stages.start, head_ip, self._head.key, self._head.address)

    def _tell_workers(self, machine: Machine) -> None:
        """The head runs: get what workers need of it."""
        for number, path in enumerate(self._launcher.file.config.cluster_synced_files):
            into = Path(self._folder, str(number), Path(path).name)
            copying.fetch(machine.connection, path, into, self._launcher.patterns)
            self._copies.append((path, into))
        self._head.ready(machine.key(), machine.node.address)
