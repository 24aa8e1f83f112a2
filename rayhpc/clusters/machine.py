"""One machine of a cluster: asking it, setting it up, starting and ending its node.

Used by `bring_up` and `take_down`, each machine from a thread of its own, so that one's trouble
never leaves its own row.  Every step has a deadline and is noted for `status`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from rayhpc.clusters import copying, record
from rayhpc.clusters.hosts import Host
from rayhpc.clusters.patterns import Patterns
from rayhpc.clusters.plan import Found, Prints
from rayhpc.clusters.record import Condition
from rayhpc.clusters.remote import scripts
from rayhpc.clusters.remote.connection import Connection, Finished
from rayhpc.clusters.remote.trouble import RemoteError
from rayhpc.clusters.stages import Stages
from rayhpc.clusters.transfer import Mount
from rayhpc.exit_codes import ExitCode

LOGIN_S, PROBE_S = 40.0, 30.0
COMMAND_S, START_S, STOP_S = 1800.0, 180.0, 60.0
_NOT_FOUND, _NO_COMMAND = 127, 2
T = TypeVar("T")
Tell = Callable[[str, str], None]


class StepError(RemoteError):
    """A step on one machine has failed; `condition` is what `status` shows of it."""

    def __init__(self, host: str, condition: Condition) -> None:
        code = f" (exit code {condition.exit_code})" if condition.exit_code is not None else ""
        what = f"{condition.phase} failed{code}: {condition.command}"
        if condition.sentence:
            what += f": {condition.sentence}"
        super().__init__(host, what, ExitCode.TOO_FEW_NODES, condition.tail)
        self.condition = condition


class NodeNote(msgspec.Struct, frozen=True):
    """Which cluster a machine's node is, or was last, a node of."""

    cluster_id: str = ""
    address: str = ""
    node_ip: str = ""
    session_dir: str = ""


class Machine:
    """One machine.

    Args:
        cluster: the cluster's name.
        host: which machine.
        connection: to it; opened by `open`.
        note: remembers its condition.
        tell: shows one line to the user: the machine's name, and what it does.
    """

    def __init__(
        self,
        cluster: str,
        host: Host,
        connection: Connection,
        note: Callable[[str, Condition], None],
        tell: Tell,
    ) -> None:
        self.host = host
        self.node = NodeNote()
        self._cluster = cluster
        self._connection = connection
        self._note = note
        self._tell = tell

    @property
    def connection(self) -> Connection:
        """The connection, for copying."""
        return self._connection

    def open(self) -> None:
        """Log in.  Raises RemoteError."""
        with self._step("login"):
            self._connection.open(LOGIN_S)

    def ask(self) -> Found:
        """What the machine says about itself.  Raises RemoteError."""
        with self._step("look"):
            done = self._connection.run(
                scripts.probe(self._cluster, self.host.name), within_s=PROBE_S
            )
        said = dict(
            line.split(" ", 1)
            for line in done.output.decode(errors="replace").splitlines()
            if " " in line
        )
        prints = _decoded(said.get("prints"), Prints)
        self.node = _decoded(said.get("json"), NodeNote)
        return Found(prints, said.get("alive") == "yes", self.node.cluster_id)

    def prepare(self, stages: Stages, patterns: Patterns, *, sync: bool, setup: bool) -> None:
        """Initialization commands, files, set-up commands.

        Raises:
            StepError: a command failed.
            RemoteError: the connection broke, or time was up.
        """
        if setup:
            self._run_all("initialization_commands", stages.initialization)
        if sync:
            for mount in stages.mounts:
                words = f"{mount.ours} -> {mount.theirs}"
                with self._step("file_mounts", words) as check:
                    self._tell(self.host.name, f"file_mounts {words}")
                    check(copying.send(self._connection, mount, patterns))
        if setup:
            self._run_all("setup_commands", stages.setup)

    def receive_synced(self, copies: list[tuple[str, Path]], patterns: Patterns) -> None:
        """Files that were fetched from the head, to the same places here.  Raises as `prepare`."""
        for theirs, ours in copies:
            with self._step("cluster_synced_files", theirs) as check:
                self._tell(self.host.name, f"cluster_synced_files {theirs}")
                mount = Mount(theirs, str(ours))
                check(copying.send(self._connection, mount, patterns))

    def start(self, commands: tuple[str, ...], head_ip: str, key: bytes, address: str) -> None:
        """Start the node.

        Args:
            commands: as the file has them.
            head_ip: where workers find the head: RAY_HEAD_IP.
            key: the cluster's, for a worker; empty for the head.
            address: where the head really listens; empty for the head.

        Raises:
            StepError, RemoteError: as `prepare`.
        """
        exports = {"RAY_HEAD_IP": head_ip, **self._identity(head_ip, address)}
        for text in commands:
            with self._step("start", text) as check:
                self._tell(self.host.name, f"start {text}")
                script = scripts.start(text, exports)
                check(self._connection.run(script, within_s=START_S, stdin=key.strip() + b"\n"))
        if not self.ask().alive:
            condition = record.now("start", commands[-1], "the commands ended, but no node runs")
            self._note(self.host.name, condition)
            raise StepError(self.host.name, condition)
        self._note(self.host.name, record.now("running"))

    def stop(self, phase: str = "stop") -> None:
        """End the cluster's node here.  Raises StepError, RemoteError."""
        with self._step(phase, "rayhpc stop") as check:
            script = scripts.ours(["stop"], self._identity("", ""))
            check(self._connection.run(script, within_s=STOP_S))

    def save(self, prints: Prints) -> None:
        """Have the machine note what has been done there.  Raises StepError, RemoteError."""
        with self._step("note", "what has been done") as check:
            values = {name: getattr(prints, name) for name in prints.__dataclass_fields__}
            script = scripts.save_prints(self._cluster, self.host.name, values)
            check(self._connection.run(script, within_s=PROBE_S))
        self._note(self.host.name, record.now("running"))

    def forget(self) -> None:
        """Remove our notes there.  Raises RemoteError."""
        script = scripts.forget(self._cluster, self.host.name)
        self._connection.run(script, within_s=PROBE_S)

    def key(self) -> bytes:
        """The key of the cluster whose head runs here; secret.  Raises StepError, RemoteError."""
        with self._step("key", "rayhpc key") as check:
            script = scripts.ours(["key"], self._identity("", ""))
            done = self._connection.run(script, within_s=PROBE_S)
            check(Finished(done.code, done.output if done.code else b""))
        return done.output.strip()

    def adopt(self, plan: bytes) -> None:
        """Have the head here add and end workers itself.

        Args:
            plan: as `head_plan.encode` gives it; empty: as the last time.

        Raises:
            RemoteError: it cannot; its last line says why.
        """
        script = scripts.fed(["adopt"], self._identity("", ""))
        self._ask(self._connection.run(script, within_s=START_S, stdin=plan + b"\n"))

    def leave(self) -> bool:
        """Have the head here add and end no workers any more; whether it did so before.

        Raises:
            RemoteError: it goes on.
        """
        script = scripts.ours(["leave"], self._identity("", ""))
        done = self._connection.run(script, within_s=START_S)
        if done.code in (_NOT_FOUND, _NO_COMMAND):
            return False  # nor could an older rayhpc there
        return b"left" in self._ask(done)

    def _ask(self, done: Finished) -> bytes:
        """What a command of ours has printed, if it has done its work."""
        if done.code == 0:
            return done.output
        if done.code == _NOT_FOUND:
            raise RemoteError(self.host.name, "rayhpc is not installed there", tail=done.tail)
        said = (done.tail or [f"exit code {done.code}"])[-1]
        raise RemoteError(self.host.name, said, done.code)

    def _identity(self, head_ip: str, address: str) -> dict[str, str]:
        labels = {"rayhpc.io/node-type": self.host.node_type, **self.host.labels}
        value = {
            "cluster": self._cluster,
            "machine": self.host.name,
            "head_ip": head_ip,
            "address": address,
            "resources": dict(self.host.resources),
            "labels": labels,
        }
        return {"RAYHPC_UP": json.dumps(value)}

    def _run_all(self, phase: str, commands: tuple[str, ...]) -> None:
        for number, text in enumerate(commands, 1):
            with self._step(phase, text) as check:
                self._tell(self.host.name, f"{phase} {number}/{len(commands)}: {_first(text)}")
                done = self._connection.run(scripts.command(text), within_s=COMMAND_S, beats=True)
                check(done)

    @contextmanager
    def _step(self, phase: str, command: str = "") -> Iterator[Callable[[Finished], None]]:
        """Notes the step as it begins, and how it failed."""
        name = self.host.name
        self._note(name, record.now(phase, command))

        def check(done: Finished) -> None:
            if done.code == 0:
                return
            condition = msgspec.structs.replace(
                record.now(phase, command), exit_code=done.code, tail=done.tail
            )
            if done.code == _NOT_FOUND and command.startswith("rayhpc "):
                sentence = "rayhpc is not installed there: `pip install rayhpc` in setup_commands"
                condition = msgspec.structs.replace(condition, sentence=sentence)
            raise StepError(name, condition)

        try:
            yield check
        except StepError as error:
            self._note(name, error.condition)
            raise
        except RemoteError as error:
            condition = record.now(phase, command, error.sentence)
            self._note(name, msgspec.structs.replace(condition, tail=error.tail))
            what = _where(phase, command, error)
            may_pass = error.may_pass
            raise RemoteError(name, what, error.code, error.tail, may_pass=may_pass) from None


def _where(phase: str, command: str, error: RemoteError) -> str:
    return f"{phase} {_first(command)}: {error.sentence}" if command else error.sentence


def _first(text: str) -> str:
    """A command's first line, for a message."""
    line = text.strip().split("\n")[0]
    return line if len(line) <= 80 else f"{line[:77]}…"


def _decoded(text: str | None, kind: type[T]) -> T:
    """What a machine has noted; nothing, if it cannot be read."""
    try:
        return msgspec.json.decode(base64.b64decode(text or ""), type=kind)
    except (msgspec.DecodeError, ValueError):
        return kind()
