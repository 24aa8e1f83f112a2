"""Drivers and observers on this node: how they attach, and how their end is noticed.

Used by `main`.  They attach over the session's private socket (`wire.bootstrap`), get an address
and the store's descriptor, and are gone when the connection or their process ends.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rayhpc.machine.processes import open_pidfd
from rayhpc.raylet.config import NodeConfig
from rayhpc.raylet.keeper import Keeper
from rayhpc.raylet.node import Raylet
from rayhpc.store.arena import Arena
from rayhpc.wire.address import Address
from rayhpc.wire.bootstrap import RESUME, AttachServer, Connection
from rayhpc.wire.messages.cluster import PROTOCOL

logger = logging.getLogger("rayhpc")

Watch = Callable[[int, Callable[[], None]], None]


class Attaching:
    """All attached processes of one node.

    Args:
        server: where they attach.
        config: the node's configuration.
        arena: its object store's memory.
        files: descriptors of further files that processes map (`WorkerConfig.spill_fds`).
        raylet: the node.
        watch: has a callback called whenever a descriptor is readable.
        unwatch: the inverse of `watch`.
        keeper: keeps the head's process (None: it is on another node).
    """

    def __init__(
        self,
        server: AttachServer,
        config: NodeConfig,
        arena: Arena,
        files: Sequence[int],
        raylet: Raylet,
        watch: Watch,
        unwatch: Callable[[int], None],
        keeper: Keeper | None = None,
    ) -> None:
        self._keeper = keeper
        self._server = server
        self._config = config
        self._arena = arena
        self._files = files
        self._raylet = raylet
        self._watch = watch
        self._unwatch = unwatch
        self._addresses: dict[Connection, Address] = {}
        self._pidfds: dict[Connection, int] = {}
        watch(server.fd, self.serve)

    def serve(self) -> None:
        """Admit new processes, and record those that have gone."""
        for connection in self._server.accept():
            self._let_in(connection)
        for connection in self._server.ended():
            self._gone(connection, "it has disconnected")

    def close(self) -> None:
        """Admit nobody any more; attached processes see their connection end."""
        for pidfd in self._pidfds.values():
            os.close(pidfd)
        self._pidfds.clear()
        self._server.close()

    def _let_in(self, connection: Connection) -> None:
        hello = connection.hello or {}
        problem = self._objection(hello)
        if problem:
            self._server.reply(connection, {"error": problem}, [])
            self._server.close_connection(connection)
            return
        if hello.get("role") == RESUME:
            self._server.reply(connection, self._resume(), [])
            self._server.close_connection(connection)
            return
        facts = self._raylet.attach(hello, connection.pid)
        self._addresses[connection] = facts.address
        told = msgspec.to_builtins(facts, builtin_types=(bytes,))
        reply = {"facts": told, "arena_bytes": self._arena.size}
        self._server.reply(connection, reply, [self._arena.fd, *self._files])
        self._watch_process(connection)

    def _resume(self) -> dict[str, Any]:
        """The user wants the head started again."""
        if self._keeper is None:
            return {"error": "The head of this cluster is on another machine: resume it there."}
        problem = self._keeper.resume()
        return {"error": problem} if problem else {}

    def _objection(self, hello: dict[str, Any]) -> str:
        """Why a process cannot be admitted; empty: it can."""
        mine = self._config
        if self._raylet.ended is not None:
            return f"This session is ending: {self._raylet.ended[1]}."
        if hello.get("protocol") != PROTOCOL or hello.get("version") != mine.version:
            return (
                f"This session runs rayhpc {mine.version}, the program rayhpc "
                f"{hello.get('version')}: use the same installation for both."
            )
        if hello.get("python") != mine.python:
            return (
                f"This session runs Python {mine.python}, the program Python "
                f"{hello.get('python')}: pickled functions cannot pass between them. Run the "
                f"program with Python {mine.python}."
            )
        return ""

    def _watch_process(self, connection: Connection) -> None:
        """A child that the program forked may hold the connection open: watch the process, too."""
        try:
            pidfd = open_pidfd(connection.pid)
        except ProcessLookupError:
            self._end(connection, "its process has ended")
            return
        if pidfd is not None:
            self._pidfds[connection] = pidfd
            self._watch(pidfd, lambda: self._end(connection, "its process has ended"))

    def _end(self, connection: Connection, reason: str) -> None:
        self._server.close_connection(connection)
        self._gone(connection, reason)

    def _gone(self, connection: Connection, reason: str) -> None:
        pidfd = self._pidfds.pop(connection, None)
        if pidfd is not None:
            self._unwatch(pidfd)
            os.close(pidfd)
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._raylet.detach(address, reason)
