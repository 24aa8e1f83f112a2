"""A raylet's actions on the outside world: `node_io.NodeIO` with real processes and sockets.

Created by `main`.  Bundles what the state machine must not know: processes, routes, slots and the
destination of workers' output.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable

from rayhpc.raylet import forkserver_messages as messages
from rayhpc.raylet.config import NodeConfig
from rayhpc.raylet.descriptors import Descriptors
from rayhpc.raylet.environments import Prepared
from rayhpc.raylet.forkserver import ForkServer
from rayhpc.raylet.logs import LogFile, Logs
from rayhpc.raylet.node import Raylet
from rayhpc.raylet.node_io import Slots
from rayhpc.raylet.processes import Processes
from rayhpc.raylet.routing import Router
from rayhpc.raylet.templates import ChannelLike, Template
from rayhpc.wire.address import Address, NodeNumber, make_address, process_of
from rayhpc.wire.guard import Guard
from rayhpc.wire.links import Links
from rayhpc.wire.messages.common import NodeInfo
from rayhpc.wire.messages.leases import LogLines
from rayhpc.wire.messages.looking import LogPiece
from rayhpc.wire.transport import socket_path


class OsIO:
    """One node's processes, routes and slots.

    Args:
        config: the launcher's decisions.
        node: its number.
        server: the fork server.
        router: the routes.
        links: the links to other raylets.
        slots: what workers record.
        log: the node's log file.
        descriptors: what the loop polls.
        guard: counts errors inside the raylet.
    """

    def __init__(
        self,
        config: NodeConfig,
        node: NodeNumber,
        server: ForkServer,
        router: Router,
        links: Links,
        slots: Slots,
        log: LogFile,
        descriptors: Descriptors,
        guard: Guard,
    ) -> None:
        self.slots = slots
        self._guard = guard
        self._config = config
        self._node = node
        self._router = router
        self._links = links
        self._log = log
        self._logs = Logs(self._deliver, time.monotonic)
        self._processes = Processes(server, self._logs, descriptors)
        self._raylet: Raylet | None = None
        self.wake: Callable[[], None] = descriptors.wake

    def belong_to(self, raylet: Raylet) -> None:
        """Set the raylet it serves, before the loop first runs."""
        self._raylet = raylet
        self._processes.belong_to(raylet)

    def spawn(
        self, number: int, args: bytes, prepared: Prepared, template: Template | None
    ) -> None:
        """Fork worker `number`, from a template or the bare server."""
        self._processes.spawn(number, args, prepared, template)

    def kill(self, number: int) -> None:
        """Kill worker `number`."""
        self._processes.kill(number)

    def make_template(self, wanted: messages.MakeTemplate) -> ChannelLike:
        """Start a template."""
        return self._processes.make_template(wanted)

    def read_output(self, number: int) -> None:
        """Deliver what a worker has printed by now."""
        self._processes.read_output(number)

    def drain_output(self, number: int) -> None:
        """Deliver everything that a dead worker has printed."""
        self._processes.drain_output(number)

    def deadline(self) -> float:
        """When `on_time` must be called."""
        due = self._processes.output_deadline()
        return math.inf if due is None else due

    def on_time(self) -> None:
        """Do what is due."""
        self._processes.output_on_time()

    def forget_process(self, address: Address) -> None:
        """A process of this node is gone, and so are its socket and the route to it."""
        self._router.forget_process(address)
        self._processes.forget(process_of(address))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path(self._config.session_dir, process_of(address)))

    def forget_node(self, node: NodeNumber, reason: str) -> None:
        """Another node is gone."""
        self._router.forget_node(node, reason)

    def learn_node(self, info: NodeInfo) -> None:
        """Another node has joined."""
        self._links.learn(info)

    def redial(self, node: NodeNumber) -> None:
        """Try once more to reach a node whose link is broken."""
        self._links.redial(node)

    def errors(self) -> tuple[int, str]:
        """How many errors have occurred inside the raylet, and the last one."""
        return self._guard.count, self._guard.last

    def read_log(self, start: int, size: int) -> LogPiece:
        """A piece of the node's log."""
        return self._log.read(start, size)

    def heard_of_head(self) -> int:
        """How many counted messages of the head have come."""
        return self._router.head.received

    def finish(self) -> None:
        """End all processes; their last output is delivered."""
        self._processes.finish()

    def _deliver(self, number: int, name: str, is_error: bool, lines: list[str]) -> None:
        """Deliver a worker's lines to the node's log, and to the driver of its job."""
        raylet = self._raylet
        worker = None
        if raylet is not None:
            worker = raylet.workers.by_address.get(make_address(self._node, number))
        if raylet is None or worker is None:
            self._log.write(f"worker {number}", lines)
            return
        name = name or worker.name or "worker"
        self._log.write(f"({name} pid={worker.pid})", lines)
        job = raylet.jobs.get(worker.key[0]) if worker.key[0] else None
        if job is not None and job.log_to_driver and not raylet.jobs.is_over(job.number):
            message = LogLines(worker.pid, self._config.node_ip, name, is_error, lines)
            raylet.output.pass_on(job.driver, message)
