"""The driver: the user's program as a process of the cluster.

Used by `api.session` (init, shutdown).  Attaches to its node's raylet through the session's
private socket; never starts or ends a node itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

import msgspec

from rayhpc.exceptions import LocalRayletDiedError, RayError
from rayhpc.machine import limits
from rayhpc.machine.shared_uid import hide_memory
from rayhpc.runtime.process import current, job_setup
from rayhpc.runtime.process.client import Client
from rayhpc.runtime.process.log_printer import LogPrinter
from rayhpc.runtime.process.process import Process
from rayhpc.runtime.process.role import Handlers, Role
from rayhpc.runtime.process.sockets import Sockets
from rayhpc.store.mapping import Mapping
from rayhpc.wire import bootstrap
from rayhpc.wire.address import Address
from rayhpc.wire.messages import cluster, leases
from rayhpc.wire.messages.cluster import PROTOCOL
from rayhpc.wire.messages.start import Facts

ATTACH_TIMEOUT_S = 10.0
# Nodes that have not forwarded what was printed by then have other problems.
OUTPUT_TIMEOUT_S = 2.0
# How long after the end of its connection a raylet may be heard: why it ended is said over another.
LAST_WORDS_S = 0.5
# Part of what a raylet may have in flight (`raylet.output`), so that no printing process waits.
TAKEN_EVERY = 1 << 20


class Driver(Role):
    """The user's program.

    Args:
        facts: who and where it is.
        mapping: its node's object store.
        connection: the attach connection; its end tells the raylet that we are gone.
        printer: prints what workers print; None: it is not printed.

    Attributes:
        client: the API's interface to it.
    """

    def __init__(
        self,
        facts: Facts,
        mapping: Mapping,
        connection: socket.socket,
        printer: LogPrinter | None,
    ) -> None:
        process = Process(facts, mapping, Sockets(facts))
        super().__init__(process.loop)
        process.core.take_role(self)
        self._core, self._loop = process.core, process.loop
        self.client = process.client
        self._connection = connection
        self._loop.watch(connection.fileno(), self._on_connection_ended)
        self._printer = printer
        self._end_at: float | None = None
        # Characters that were printed but not acknowledged yet, by raylet.
        self._taken: dict[Address, int] = {}

    def start(self) -> None:
        """Let the background thread serve the sockets while nobody waits."""
        self._loop.start()

    def handlers(self) -> Handlers:
        """The messages that only drivers get: what workers print."""
        return {leases.LogLines: self._on_log_lines}

    def _on_connection_ended(self, descriptor: int) -> None:
        """The attach connection is readable: nothing is sent on it any more, so it has ended."""
        self._loop.unwatch(descriptor)
        self._end_at = self._core.now() + LAST_WORDS_S

    def next_deadline(self) -> float | None:
        """When the raylet's last words, which take another way, can no longer be expected."""
        return None if self._core.ended is not None else self._end_at

    def advance(self) -> None:
        """End if the raylet has ended without last words."""
        if self._end_at is None or self._core.ended is not None:
            return
        if self._core.now() >= self._end_at:
            self._core.end(
                "this node's raylet has ended without a word (killed, or crashed); what it printed "
                "last is in the node's log if the session kept one. Start the cluster again",
                LocalRayletDiedError,
            )

    def _on_log_lines(self, source: Address, message: leases.LogLines) -> None:
        """Print what workers print, and tell their raylet how much."""
        if self._printer is not None:
            self._printer.print(message)
        taken = self._taken[source] = self._taken.get(source, 0) + message.size
        if taken >= TAKEN_EVERY:
            self._loop.transport.send(source, leases.LinesTaken(taken))
            self._taken[source] = 0

    def close(self) -> None:
        """Leave the cluster: return leases, free what we own."""
        try:
            if self._printer is not None:
                # The cluster may have ended, or be about to.
                with contextlib.suppress(RayError):
                    self._collect_output()
                self._printer.flush()
            # Else their workers are killed on our account, with the runs they have not reported.
            if self._core.ended is None:
                self._loop.tidy(self._core.submitter.give_back_idle)
        finally:
            super().close()
            self._connection.close()

    def _collect_output(self) -> None:
        """Collect and print what was printed anywhere before the results that we have."""
        job = self._core.facts.job
        questions = self.client.questions
        raylets = questions.ask_head(cluster.JobRaylets(job), list[Address], OUTPUT_TIMEOUT_S)
        asked = dict.fromkeys([self._core.raylet, *raylets], cluster.PassOnOutput(job))
        questions.ask_all(list(asked.items()), OUTPUT_TIMEOUT_S)


def connect(
    session_dir: str,
    *,
    namespace: str,
    environment: bytes,
    log_to_driver: bool,
    version: str,
    plain_lines: bool = False,
    detached: bool = False,
    kernel_session: int | None = None,
) -> Client:
    """Attach this process to the node whose session directory is given, as a new job.

    Args:
        session_dir: the node's session directory.
        namespace: the namespace of the job's names.
        environment: the job's runtime environment as JSON.
        log_to_driver: print what workers print.
        version: rayhpc's version.
        plain_lines: print every line unchanged, without a prefix.
        detached: its actors outlive their owner, unless their options say otherwise.
        kernel_session: the session the raylet must be in (`machine.shared_uid`); None: any.

    Raises:
        RaySystemError: there is no such session, or it refuses (another version).
    """
    hello = {
        "protocol": PROTOCOL,
        "version": version,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "role": "driver",
        "pid": os.getpid(),
        "namespace": namespace,
        "path": _module_path(),
        "folder": os.getcwd(),
        "preload": _imported(),
        "environment": environment,
        "log_to_driver": log_to_driver,
        "entrypoint": " ".join(sys.argv[:6]),
        "started": time.time(),
        "setup": job_setup.registered(),
        "detached": detached,
    }
    # One connection to each process of this node that it calls.
    limits.raise_nofile()
    path = os.path.join(session_dir, "raylet.sock")
    reply, fds, connection = bootstrap.attach(path, hello, ATTACH_TIMEOUT_S, kernel_session)
    facts = msgspec.convert(reply["facts"], Facts)
    if facts.ipc_key is not None:
        hide_memory()
    mapping = Mapping(fds[0], reply["arena_bytes"], fds[1:])
    # The mapping has its own descriptor; this one, kept open, would hold the store's memory.
    os.close(fds[0])
    printer = LogPrinter(plain_lines) if log_to_driver else None
    driver = Driver(facts, mapping, connection, printer)
    current.set_client(driver.client)
    driver.start()
    return driver.client


def _module_path() -> list[str]:
    """Where the driver finds modules: its script's folder and the entries of PYTHONPATH."""
    script = sys.path[0] if sys.path else ""
    folders = dict.fromkeys([script, *sys.path])
    return [os.path.abspath(x) for x in folders if os.path.isdir(x or ".")]


def _imported() -> list[str]:
    """The modules, other than rayhpc's, that the driver has imported, for the workers' template."""
    main = sys.modules.get("__main__")
    named = vars(main).values() if main is not None else ()
    found: dict[str, None] = {}
    for value in list(named):
        module = value.__name__ if type(value) is type(sys) else getattr(value, "__module__", None)
        top = str(module).partition(".")[0] if module else ""
        known = sys.modules.get(top)
        if top in ("", "__main__", "builtins", "rayhpc", "ray") or known is None:
            continue
        if getattr(known, "__file__", None) is not None:
            found[str(module)] = None
    return list(found)
