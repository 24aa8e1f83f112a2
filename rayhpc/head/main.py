"""The head process: the loop between its sockets and `head.Head`.

Called by the node process, in a child forked while it had no threads or sockets.  Decides
nothing: it decodes, checks the sender, dispatches, and sends what the head wants sent, after what
the head has changed is in its database.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import signal
import time
from collections.abc import Set
from types import FrameType
from typing import Any

import msgspec
import zmq

from rayhpc.head.config import HEAD_LOST, UNUSABLE, HeadConfig, HeadFacts
from rayhpc.head.database import Database, DatabaseError
from rayhpc.head.excuses import excuse
from rayhpc.head.head import Head
from rayhpc.head.ledger import TABLES, Ledger
from rayhpc.head.peers import Peers
from rayhpc.head.probes import Probes
from rayhpc.wire import codec, messages
from rayhpc.wire.address import HEAD, Address, node_of, raylet_of
from rayhpc.wire.guard import Guard
from rayhpc.wire.head_link import HeadServer
from rayhpc.wire.messages import cluster
from rayhpc.wire.messages.leases import NodeGone, Shutdown

logger = logging.getLogger("rayhpc.head")

GRACE_S = 2.0
# How many messages are handled before the head looks at its clock again.
BATCH = 2_000
# After a failure in `advance` it is tried again, but not without a pause.
ERROR_PAUSE_S = 0.1


def run(config: HeadConfig, ready_fd: int, life_fd: int | None, *, signals: bool = True) -> int:
    """Serve until the cluster ends.

    Args:
        config: the configuration.
        ready_fd: gets one line of JSON, the endpoints or the reason there are none, and is closed.
        life_fd: end of file on it ends the cluster.
        signals: whether SIGTERM ends the cluster (False: the launcher handles it).

    Returns:
        The process's exit code.
    """
    try:
        # First: a second head of one cluster must not even listen.
        ledger = Ledger(_open_database(config))
    except DatabaseError as error:
        _report(ready_fd, {"error": str(error), "code": UNUSABLE})
        return UNUSABLE
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    server = HeadServer(context, config.server, config.node_public)
    try:
        endpoints = _listen(server, config)
    except (OSError, ValueError, zmq.ZMQError) as error:
        where = ", ".join(config.bind)
        _report(ready_fd, {"error": f"The head cannot listen on {where}: {error}", "code": 78})
        server.close()
        context.destroy(linger=0)
        ledger.close()
        return 78
    process = HeadProcess(config, server, life_fd, ledger)
    _report(ready_fd, {"ok": True, "endpoints": endpoints})
    try:
        return process.serve(signals)
    finally:
        process.close()
        context.destroy(linger=500)
        ledger.close()


def _open_database(config: HeadConfig) -> Database:
    return Database(
        config.session_dir,
        TABLES,
        config.cluster_id,
        config.version,
        resume=bool(config.endpoints),
    )


def _listen(server: HeadServer, config: HeadConfig) -> list[tuple[str, int]]:
    """Listen where an earlier life did, on the wanted port, or on a free one if that is taken."""
    if config.endpoints:
        return [x for ip, port in config.endpoints for x in server.listen([ip], port, None)]
    if config.port:
        try:
            return server.listen(config.bind, config.port, config.ports)
        except (OSError, zmq.ZMQError) as error:
            logger.info("port %d is taken (%s); using a free one", config.port, error)
    return server.listen(config.bind, 0, config.ports)


def _report(fd: int, facts: dict[str, object]) -> None:
    os.write(fd, json.dumps(facts).encode() + b"\n")
    os.close(fd)


class HeadProcess:
    """The loop.

    Args:
        config: the configuration.
        server: the listening socket.
        life_fd: end of file on it ends the cluster.
        ledger: writes what the head changes.
    """

    def __init__(
        self, config: HeadConfig, server: HeadServer, life_fd: int | None, ledger: Ledger
    ) -> None:
        self._server = server
        self._ledger = ledger
        self._peers = Peers(server.send_frame, ledger)
        self._life_fd = life_fd
        facts = HeadFacts(config.cluster_id, config.version, config.python)
        self._guard = Guard(logger)
        self._head = Head(
            facts,
            self._send,
            time.monotonic,
            time.time,
            random.Random(),
            self._errors,
            ledger,
            self._peers.forget,
        )
        self._peers.flush()
        if ledger.is_resumed:
            logger.warning("the head has come back, for its life %d", ledger.life)
        self._decode = codec.Decoder(messages.HEAD_TAKES)
        self._code = 0
        self._told_to_stop = False
        # After a failure in `advance` it is not called before this time.
        self._pause_until = 0.0
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._probes = Probes(time.monotonic)
        self._poller = zmq.Poller()
        for source in [*server.sockets, self._wake_read, self._probes.fileno()]:
            self._poller.register(source, zmq.POLLIN)
        if life_fd is not None:
            self._poller.register(life_fd, zmq.POLLIN)

    # -- the loop --------------------------------------------------------------------------------
    def serve(self, signals: bool = True) -> int:
        """Run until the cluster has ended and its nodes are gone (or have taken too long)."""
        self._catch_signals(signals)
        while self._head.ended is None:
            due = max(min(self._head.deadline(), self._probes.deadline()), self._pause_until)
            self._turn(max(0.0, due - time.monotonic()))
        until = time.monotonic() + GRACE_S
        while self._head.nodes.alive and time.monotonic() < until:
            self._turn(until - time.monotonic())
        return self._code

    def close(self) -> None:
        """Close everything."""
        self._server.close()
        self._probes.close()
        signal.set_wakeup_fd(-1)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _turn(self, timeout_s: float) -> None:
        # Rounded up: a poll of 0 ms just before the deadline would spin.
        ready = dict(self._poller.poll(int(timeout_s * 1000 + 0.999)))
        if self._wake_read in ready:
            self._drain()
        if self._life_fd in ready:
            self._on_life()
        self._receive(ready.keys())
        for peer in self._server.lost():
            number = self._peers.lost(peer)
            if number is not None:
                self._guard.run(f"the loss of node {number}", self._head.lost, number)
        self._guard.run("the probes", self._probe)
        if self._told_to_stop:
            self._told_to_stop = False
            self._head.end("the head was told to stop (SIGTERM)", 128 + signal.SIGTERM)
        now = time.monotonic()
        if now >= self._pause_until and self._guard.run("what is due", self._head.advance):
            self._pause_until = now + ERROR_PAUSE_S
        self._guard.run("a turn's end", self._peers.flush)

    def _probe(self) -> None:
        """Find out which of the raylets that have no connection have ended."""
        for number in self._probes.ended(self._head.disconnected()):
            self._head.raylet_ended(number)

    def _receive(self, ready: Set[Any]) -> None:
        for peer, frame in itertools.islice(self._server.receive_from(ready), BATCH):
            number = self._peers.number_of(peer)
            if number is not None:
                self._peers.count(number, frame)
            try:
                message = self._decode(frame)
            except msgspec.DecodeError as error:
                logger.warning("rejected a malformed message: %s", error)
                continue
            source = codec.source_of(frame)
            if isinstance(message, (cluster.RegisterNode, cluster.RejoinNode)):
                failure = self._guard.run(message, self._on_greeting, peer, message)
                refusal = None if failure is None else excuse(message, failure)
                if refusal is not None:
                    self._peers.answer(peer, refusal)
            elif number is None:
                if not self._peers.is_replaced(peer):
                    self._refuse_stranger(peer)
            elif node_of(source) == number:
                if isinstance(message, cluster.Heartbeat):
                    self._peers.confirm(number, message.received)
                failure = self._guard.run(message, self._head.handle, source, message)
                answer = None if failure is None else excuse(message, failure)
                if answer is not None:
                    self._send(source, answer)

    # -- nodes -----------------------------------------------------------------------------------
    def _on_greeting(self, peer: bytes, message: cluster.RegisterNode | cluster.RejoinNode) -> None:
        if self._peers.number_of(peer) is not None:
            return
        if isinstance(message, cluster.RegisterNode):
            welcome = self._head.join(message)
            if isinstance(welcome, cluster.Registered):
                self._peers.welcome(peer, welcome)
            else:
                self._reject(peer, welcome)
            return
        if self._peers.is_overtaken(message):
            return
        answer = self._head.rejoin(message, self._peers.received(message.number))
        if isinstance(answer, cluster.Rejoined):
            logger.info("node %d has come back", message.number)
            self._peers.resume(peer, message, answer)
        else:
            self._reject(peer, answer, raylet_of(message.number))

    def _reject(
        self,
        peer: bytes,
        answer: cluster.RegistrationRefused | NodeGone | Shutdown,
        address: Address = HEAD,
    ) -> None:
        logger.warning("rejected a node: %s", answer.reason)
        self._peers.answer(peer, answer, address)

    def _refuse_stranger(self, peer: bytes) -> None:
        """A message from a peer that has not registered."""
        if self._head.ended is not None:
            return
        refused = cluster.RegistrationRefused(
            "The head does not know this node. Start it again to join as a new node."
        )
        self._peers.answer(peer, refused)

    def _send(self, address: Address, message: msgspec.Struct) -> None:
        try:
            self._peers.send(address, message)
        except ValueError as error:
            logger.error("cannot send %s: %s", type(message).__name__, error)
            if isinstance(message, cluster.Reply):
                self._send(address, cluster.Reply(message.token, error=str(error)))

    def _errors(self) -> tuple[int, str]:
        """How many errors have occurred, and the last one; a lost database is one."""
        lost = self._ledger.lost
        return self._guard.count + bool(lost), lost or self._guard.last

    # -- signals and life ------------------------------------------------------------------------
    def _catch_signals(self, act: bool) -> None:
        """SIGTERM ends the cluster; SIGINT reaches the whole foreground group and is ignored."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_term if act else _do_nothing)
        signal.signal(signal.SIGINT, _do_nothing)

    def _on_term(self, _: int, __: FrameType | None) -> None:
        self._told_to_stop = True

    def _drain(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    def _on_life(self) -> None:
        if self._life_fd is None or os.read(self._life_fd, 64):
            return
        self._poller.unregister(self._life_fd)
        self._life_fd = None
        if self._head.ended is None:
            self._code = HEAD_LOST
            self._head.end("the head's own node has ended", HEAD_LOST)


def _do_nothing(_: int, __: FrameType | None) -> None:
    pass
