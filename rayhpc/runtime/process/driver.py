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
# Nodes that have not passed on what was printed by then have other troubles.
OUTPUT_TIMEOUT_S = 2.0
# A part of what a raylet lets be on its way (`raylet.output`), so that one that prints never waits.
TAKEN_EVERY = 1 << 20


class Driver(Role):
    """The user's program.

    Args:
        facts: who and where it is.
        mapping: its node's object store.
        connection: the attach connection; its end tells the raylet that we are gone.
        printer: prints what workers print; None: nobody does.

    Attributes:
        client: what the API says to it.
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
        # Characters that were printed and not told of yet, by raylet.
        self._taken: dict[Address, int] = {}

    def start(self) -> None:
        """Let the background thread serve while nobody waits."""
        self._loop.start()

    def handlers(self) -> Handlers:
        """Drivers print what workers print."""
        return {leases.LogLines: self._on_log_lines}

    def _on_connection_ended(self, descriptor: int) -> None:
        """The attach connection: nothing more is said on it, so this is its end."""
        self._loop.unwatch(descriptor)
        self._core.end(
            "this node's raylet has ended without a word (killed, or crashed); what it printed "
            "last is in the node's log if the session kept one. Start the cluster again",
            LocalRayletDiedError,
        )

    def _on_log_lines(self, source: Address, message: leases.LogLines) -> None:
        """Print what workers print, and tell its raylet how much."""
        if self._printer is not None:
            self._printer.print(message)
        taken = self._taken[source] = self._taken.get(source, 0) + message.size
        if taken >= TAKEN_EVERY:
            self._loop.transport.send(source, leases.LinesTaken(taken))
            self._taken[source] = 0

    def close(self) -> None:
        """Leave the cluster: leases go back, what we own is freed."""
        try:
            if self._printer is not None:
                # The cluster may be gone, or about to go.
                with contextlib.suppress(RayError):
                    self._collect_output()
                self._printer.flush()
            # Else their workers are killed for us, with what they have not told of their runs.
            if self._core.ended is None:
                self._loop.tidy(self._core.submitter.give_back_idle)
        finally:
            super().close()
            self._connection.close()

    def _collect_output(self) -> None:
        """Have printed here what was printed anywhere before the results that we have."""
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
    kernel_session: int = 0,
) -> Client:
    """Attach this process to the node whose session directory is given, as a new job.

    Args:
        session_dir: the node's session directory.
        namespace: of the job's names.
        environment: the job's runtime environment as JSON.
        log_to_driver: print what workers print.
        version: rayhpc's.
        plain_lines: print it as it is, without a prefix, and every line.
        detached: its actors live on without their owner, unless their options say otherwise.
        kernel_session: in which the raylet has to be (`machine.shared_uid`); 0: any.

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
    # A connection to each process of this node that it calls.
    limits.raise_nofile()
    path = os.path.join(session_dir, "raylet.sock")
    reply, fds, connection = bootstrap.attach(path, hello, ATTACH_TIMEOUT_S, kernel_session)
    facts = msgspec.convert(reply["facts"], Facts)
    if facts.ipc_key is not None:
        hide_memory()
    mapping = Mapping(fds[0], reply["arena_bytes"], fds[1:])
    # The mapping has its own; kept open, this one would hold the store's memory after the end.
    os.close(fds[0])
    printer = LogPrinter(plain_lines) if log_to_driver else None
    driver = Driver(facts, mapping, connection, printer)
    current.set_client(driver.client)
    driver.start()
    return driver.client


def _module_path() -> list[str]:
    """Where the driver finds modules: its script's folder and what PYTHONPATH added."""
    script = sys.path[0] if sys.path else ""
    folders = dict.fromkeys([script, *sys.path])
    return [os.path.abspath(x) for x in folders if os.path.isdir(x or ".")]


def _imported() -> list[str]:
    """The top-level modules of others that the driver has imported, for the workers' template."""
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
