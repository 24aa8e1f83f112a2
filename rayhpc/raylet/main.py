"""A raylet's process: its sockets, its loop, its end.

`run` is called by `launch.node` once the fork server (and on the head's node the head) has been
forked.  It registers with the head, serves until somebody ends the session, and leaves no process
and no socket behind.  All decisions are `node.Raylet`'s.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable

import msgspec
import zmq

from rayhpc.machine import limits
from rayhpc.machine.processes import become_subreaper
from rayhpc.raylet.attach import Attaching
from rayhpc.raylet.config import HEAD_LOST, IN_ORDER, INTERNAL, NodeConfig
from rayhpc.raylet.descriptors import Descriptors
from rayhpc.raylet.excuses import excuse
from rayhpc.raylet.forkserver import ForkServer
from rayhpc.raylet.forkserver_loop import end_children, own_children
from rayhpc.raylet.head_line import SILENCE_MS, HeadLine
from rayhpc.raylet.joining import JoinError, join, node_info, rejoining
from rayhpc.raylet.keeper import Keeper
from rayhpc.raylet.logs import LogFile
from rayhpc.raylet.memory_monitor import MemoryMonitor, Readings, private_bytes
from rayhpc.raylet.node import Raylet
from rayhpc.raylet.objects import ObjectManager
from rayhpc.raylet.objects.spill import open_for_all
from rayhpc.raylet.os_io import OsIO
from rayhpc.raylet.routing import Router
from rayhpc.store.arena import Arena
from rayhpc.wire import codec, messages
from rayhpc.wire.address import HEAD, Address, raylet_of
from rayhpc.wire.bootstrap import AttachServer
from rayhpc.wire.data_plane import CHANNELS_MAX, DataPlane
from rayhpc.wire.guard import Guard
from rayhpc.wire.head_link import HeadLink
from rayhpc.wire.links import Links
from rayhpc.wire.messages import cluster, leases
from rayhpc.wire.messages.start import Facts, WorkerConfig
from rayhpc.wire.slots import SlotTable

logger = logging.getLogger("rayhpc")

# After SIGTERM, what runs may go on for so long.
TERM_GRACE_S = 2.0
# So long the head has to tell everybody that the cluster ends.
END_WITHIN_S = 1.0
WORKERS_MAX = 4096
# A worker's stdout, stderr and connection; and what else a raylet has open: other nodes, drivers.
DESCRIPTORS_PER_WORKER = 3
DESCRIPTORS_RESERVED = 96
# One in so many may be a channel of the data plane into this node, and one in so many out of it.
DESCRIPTORS_FOR_A_CHANNEL = 32
# What is due fails: it is tried again, but not without a pause.
ERROR_PAUSE_S = 0.1


def run(
    config: NodeConfig,
    forkserver: ForkServer,
    ready_fd: int,
    life_fd: int | None,
    *,
    signals: bool = True,
    keeper: Keeper | None = None,
) -> int:
    """Be the raylet of this process; returns the exit code.

    Args:
        config: what the launcher decided.
        forkserver: started while the process was bare.
        ready_fd: gets one line of JSON: {"ok": true, "node", "node_id", "port"}, or {"error",
            "code"}.
        life_fd: the session ends when its other end is closed; None: it lives by itself.
        signals: SIGTERM and SIGUSR1 end the node (False: they are the launcher's business).
        keeper: keeps the head's process (None: it is on another node).
    """
    os.makedirs(f"{config.session_dir}/logs", mode=0o700, exist_ok=True)
    os.makedirs(f"{config.session_dir}/p", mode=0o700, exist_ok=True)
    log = LogFile(f"{config.session_dir}/logs/node.log")
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    become_subreaper()
    node = _RayletProcess(config, forkserver, log, keeper)
    try:
        node.start(life_fd, signals)
    except JoinError as error:
        _say(ready_fd, {"error": str(error), "code": error.code})
        node.finish(error.code, str(error))
        return error.code
    _say(
        ready_fd,
        {"ok": True, "node": node.number, "node_id": config.node_id, "port": node.port},
    )
    try:
        code, reason = node.serve()
    except Exception as error:
        logger.exception("an error inside the raylet")
        code, reason = INTERNAL, f"an error inside the raylet: {error!r}"
    logger.info("the node ends (%d): %s", code, reason)
    node.finish(code, reason)
    return code


class _RayletProcess:
    """The raylet's process."""

    def __init__(
        self, config: NodeConfig, server: ForkServer, log: LogFile, keeper: Keeper | None
    ) -> None:
        self._config = config
        self._keeper = keeper
        self._server = server
        self._log = log
        self._guard = Guard(logger)
        self._descriptors = Descriptors(self._serve_descriptor)
        self._signals: deque[int] = deque()
        self._end_by: tuple[float, str] | None = None
        self._in_order = False
        # When the raylet wants to be called at the latest.
        self._due = 0.0
        self._decode = codec.Decoder(messages.RAYLET_TAKES)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._arena = Arena.create(config.store_bytes)
        self._channels = limits.descriptors_for(
            DESCRIPTORS_FOR_A_CHANNEL, reserved=0, most=CHANNELS_MAX
        )
        workers = limits.descriptors_for(
            DESCRIPTORS_PER_WORKER,
            reserved=DESCRIPTORS_RESERVED + 2 * self._channels,
            most=WORKERS_MAX,
        )
        self._slots = SlotTable.create(workers)
        # Where our descriptors are closed to our own processes, too, these get copies of them.
        hidden = config.ipc_key is not None
        self._spill_files = open_for_all(config.spill_dirs) if hidden else []
        server.share([self._arena.fd, self._slots.fd, *(x.fd for x in self._spill_files)])
        self._links = Links(self._context, config.cluster.node)
        self._head = HeadLink(self._context, config.cluster, silence_ms=SILENCE_MS)
        # What was there before us is our launcher's (the head); all else that we inherit is ours.
        self._others = own_children() - {server.pid}
        self._closing: list[Callable[[], None]] = []
        self._raylet: Raylet | None = None
        self._io: OsIO | None = None
        self.number = 0
        self.port = 0

    # -- beginning --------------------------------------------------------------------------------
    def start(self, life_fd: int | None, signals: bool) -> None:
        """Listen, join, and open the node to its processes.

        Raises:
            JoinError: the head does not take this node.
        """
        config = self._config
        endpoints = self._links.listen(config.bind, config.port, config.ports)
        self.port = endpoints[0][1]
        self._take_signals(signals)
        if life_fd is not None:
            self._descriptors.watch(life_fd, lambda: self._life_ended(life_fd))
        info = node_info(config, endpoints, self._links.public_key)
        registered, early = join(config, info, self._head, self._descriptors)
        self.number = registered.number
        self._open(registered, early)
        self._handle(self._router.receive(frozenset(self._router.sockets)))

    def _open(self, registered: cluster.Registered, early: Iterable[bytes]) -> None:
        config, me = self._config, raylet_of(registered.number)
        line = self._line = HeadLine(
            self._head,
            me,
            time.monotonic,
            self._rejoining,
            self._head_lost,
            early,
        )
        router = self._router = Router(
            self._context, me, config.session_dir, self._links, line, config.ipc_key
        )
        io = self._io = OsIO(
            config,
            registered.number,
            self._server,
            router,
            self._links,
            self._slots,
            self._log,
            self._descriptors,
            self._guard,
        )
        store = self._make_store(router)
        readings = Readings(
            config.memory_limit, self._pids, lambda: store.used, config.counts_shared
        )
        raylet = self._raylet = Raylet(
            config,
            registered,
            self._worker_config(),
            io,
            store,
            MemoryMonitor(readings.read, private_bytes, time.monotonic),
            router.send,
            time.monotonic,
            time.time,
        )
        io.belong_to(raylet)
        attaching = Attaching(
            AttachServer(f"{config.session_dir}/raylet.sock", config.attach_from),
            config,
            self._arena,
            [x.fd for x in self._spill_files],
            raylet,
            self._descriptors.watch,
            self._descriptors.unwatch,
            self._keeper,
        )
        if self._keeper is not None:
            self._keeper.attach(
                self._descriptors.watch, self._descriptors.unwatch, raylet.head.given_up
            )
        self._closing = [attaching.close, store.close, router.close]

    def _rejoining(self, received: int) -> cluster.RejoinNode:
        usage = self._running.heartbeats.usage(self._running)
        return rejoining(self._config, self.number, usage, received, time.monotonic())

    def _make_store(self, router: Router) -> ObjectManager:
        store = ObjectManager(
            self.number,
            self._arena,
            self._config.spill_dirs,
            router.send,
            time.monotonic,
            random.Random(),
            self._pid_of,
            plane=DataPlane(self._arena, self._config.bind, self._config.ports, self._channels),
            spill_files=self._spill_files,
        )
        if store.wake_fd >= 0:
            self._descriptors.watch(store.wake_fd, store.on_time)
        return store

    def _worker_config(self) -> WorkerConfig:
        config = self._config
        facts = Facts(
            0,
            config.cluster.cluster_id,
            config.session_dir,
            config.node_id,
            config.node_ip,
            0,
            "",
            bind=config.bind,
            ports=config.ports,
            ipc_key=config.ipc_key,
        )
        arena_fd, slots_fd, *spill_fds = self._server.shared
        return WorkerConfig(
            facts, arena_fd, self._arena.size, slots_fd, 0, config.gpu_variable, spill_fds
        )

    # -- serving ----------------------------------------------------------------------------------
    def serve(self) -> tuple[int, str]:
        """Work until the node is to end; returns the exit code and the reason."""
        poller = zmq.Poller()
        for each in (*self._router.sockets, self._descriptors.fileno()):
            poller.register(each, zmq.POLLIN)
        raylet = self._running
        while raylet.ended is None:
            left = 0.0 if self._router.has_input() else max(0.0, self._due - time.monotonic())
            # Rounded up: a poll of 0 ms before the deadline would spin.
            ready = {each for each, _ in poller.poll(int(left * 1000 + 0.999))}
            handled = self._handle(self._router.receive(ready))
            if self._descriptors.fileno() in ready:
                self._descriptors.serve()
                handled = True
            handled = self._look_at_links() or handled
            failed = None
            if time.monotonic() >= self._due:
                failed = self._guard.run("what is due", self._on_time)
                handled = True
            if handled:
                failed = self._guard.run("a turn's end", self._end_turn) or failed
            if failed is not None:
                self._due = time.monotonic() + ERROR_PAUSE_S
        return raylet.ended

    def _end_turn(self) -> None:
        self._running.settle()
        self._due = self._deadline()

    def _on_time(self) -> None:
        self._look_at_time()
        self._line.on_time()
        if self._keeper is not None:
            self._keeper.on_time()
        if self._io is not None:
            self._io.on_time()
        self._running.on_time()

    def _serve_descriptor(self, what: str, action: Callable[[], None]) -> None:
        """One descriptor's action; before the node has joined, its errors end it."""
        if self._raylet is None:
            action()
        else:
            self._guard.run(what, action)

    def _handle(self, frames: Iterable[bytes]) -> bool:
        """Hand messages to the raylet; True: there were some."""
        raylet = self._running
        any_ = False
        for frame in frames:
            any_ = True
            try:
                message = self._decode(frame)
            except msgspec.DecodeError as error:
                logger.warning("refused a malformed message: %s", error)
                continue
            source = codec.source_of(frame)
            failure = self._guard.run(message, raylet.handle, source, message)
            answer = None if failure is None else excuse(source, message, failure)
            if answer is not None:
                self._router.send(*answer)
        return any_

    def _look_at_links(self) -> bool:
        any_ = False
        raylet = self._running
        for node, is_whole in self._links.changes():
            change = raylet.broken_links.drop if is_whole else raylet.link_broken
            self._guard.run(f"the link to node {node}", change, node)
            any_ = True
        return any_

    def _head_lost(self, why: str) -> None:
        logger.warning("there is no connection to the head, it is dialled again: %s", why)
        self._running.head.lost(why)
        self._due = 0.0  # the next attempt is due earlier than anything else

    def _deadline(self) -> float:
        assert self._io is not None
        deadline = min(self._running.deadline(), self._io.deadline(), self._line.deadline())
        if self._keeper is not None:
            deadline = min(deadline, self._keeper.deadline())
        return deadline if self._end_by is None else min(deadline, self._end_by[0])

    def _look_at_time(self) -> None:
        if self._end_by is not None and time.monotonic() >= self._end_by[0]:
            self._running.end(0, self._end_by[1])

    # -- being told to end ------------------------------------------------------------------------
    def _take_signals(self, act: bool) -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, _do_nothing)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note_signal if act else _do_nothing)
        signal.set_wakeup_fd(self._descriptors.wake_fd, warn_on_full_buffer=False)
        self._descriptors.after_wake = self._on_signals

    def _note_signal(self, number: int, _: object) -> None:
        self._signals.append(number)

    def _on_signals(self) -> None:
        while self._signals:
            number = self._signals.popleft()
            if self._raylet is None:
                raise JoinError("it was told to end before it had joined", 128 + number)
            reason = f"the node was told to end ({signal.Signals(number).name})"
            if number == signal.SIGUSR1:
                self._raylet.drain(reason)
            elif self._config.is_head:
                self._end_cluster(reason)
            else:
                self._raylet.drain(reason, TERM_GRACE_S)

    def _life_ended(self, life_fd: int) -> None:
        said = os.read(life_fd, 4096)
        if said:
            self._in_order = self._in_order or IN_ORDER in said
            return
        self._descriptors.unwatch(life_fd)
        reason = "whoever started the session has ended"
        if self._raylet is None:
            raise JoinError(reason, 0)
        if self._config.is_head:
            # Other nodes may wait for another head: not if the program has come to its end.
            self._end_cluster(reason, 0 if self._in_order else HEAD_LOST)
        else:
            self._raylet.end(0, reason)

    def _end_cluster(self, reason: str, code: int = 0) -> None:
        """Have the head tell everybody; if it does not, this node ends all the same."""
        if self._end_by is None:
            self._end_by = (time.monotonic() + END_WITHIN_S, reason)
            self._router.send(HEAD, cluster.EndCluster(reason, code))

    # -- the end ----------------------------------------------------------------------------------
    def finish(self, code: int, reason: str) -> None:
        """End everything of this node, in order (bounded in time)."""
        if self._raylet is not None and self._io is not None:
            # Workers are killed below; to wake them first would cost each a round of its own.
            for address in self._raylet.attached:
                self._router.send(address, leases.Shutdown(reason, code))
            self._router.send(HEAD, cluster.Leave(reason))
            self._io.finish()
        else:
            self._server.finish(END_WITHIN_S)
        end_children(self._others if self._keeper is None else self._keeper.children())
        signal.set_wakeup_fd(-1)
        for close in (*self._closing, self._links.close, self._head.close):
            close()
        self._context.destroy(linger=500)
        self._descriptors.close()
        shutil.rmtree(f"{self._config.session_dir}/p", ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._config.session_dir}/raylet.sock")
        logger.removeHandler(self._log)
        self._log.close()

    # -- details ----------------------------------------------------------------------------------
    @property
    def _running(self) -> Raylet:
        assert self._raylet is not None
        return self._raylet

    def _pids(self) -> list[int]:
        workers = [x.pid for x in self._running.workers.by_address.values() if x.pid]
        if not self._config.counts_shared:
            return workers
        return [*workers, os.getpid(), *(x.pid for x in self._running.attached.values())]

    def _pid_of(self, address: Address) -> int:
        raylet = self._running
        found = raylet.workers.by_address.get(address) or raylet.attached.get(address)
        return 0 if found is None else found.pid


def _say(descriptor: int, what: dict[str, object]) -> None:
    """One line to whoever waits for this node."""
    try:
        os.write(descriptor, json.dumps(what).encode() + b"\n")
    except OSError:
        logger.info("nobody waits to hear that the node is ready")


def _do_nothing(*_: object) -> None:
    """Handle a signal by going on."""
