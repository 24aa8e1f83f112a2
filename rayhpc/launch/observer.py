"""Queries a running cluster from a process that is not a driver: status, listings, who has joined.

Used by the CLI, and by rank 0 while it waits for its nodes.  Attaches to this machine's raylet
through the session's private socket; runs no task, owns no object.  The cluster accepts only
queries from an observer; rank 0's `Operator` may also send commands.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
import zmq

from rayhpc.exit_codes import ExitCode, LaunchError, NoAnswerError
from rayhpc.launch.node_config import python_version, rayhpc_version
from rayhpc.launch.sessions import ATTACH
from rayhpc.machine.shared_uid import expected_session
from rayhpc.wire import bootstrap
from rayhpc.wire.address import HEAD, Address, node_of, raylet_of
from rayhpc.wire.codec import Decoder, source_of
from rayhpc.wire.messages.cluster import PROTOCOL, ClusterUsage, Nodes, Question, Reply, Request
from rayhpc.wire.messages.direct import DirectAsk
from rayhpc.wire.messages.leases import NodeGone, Shutdown
from rayhpc.wire.messages.listings import ClusterState, NodeState
from rayhpc.wire.messages.start import Facts
from rayhpc.wire.transport import Transport

ATTACH_S = 10.0
ANSWER_S = 10.0

T = TypeVar("T")
Attached = TypeVar("Attached", bound="Observer")


class Observer:
    """An attached process that only queries.

    Args:
        session_dir: the session's directory on this machine.

    Raises:
        LaunchError: nobody answers there, or we are refused.
    """

    _role = "observer"

    def __init__(self, session_dir: str) -> None:
        reply, self._connection = attach(session_dir, self._role)
        facts = msgspec.convert(reply["facts"], Facts)
        self._me = facts.address
        self.raylet = raylet_of(node_of(facts.address))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._transport = Transport(self._context, self._me, session_dir, ipc_key=facts.ipc_key)
        self._decode = Decoder((Reply, Request, Shutdown, NodeGone, DirectAsk))
        self._poller = zmq.Poller()
        for sock in self._transport.sockets:
            self._poller.register(sock, zmq.POLLIN)
        # Silent until it closes, when the node has ended.
        self._poller.register(self._connection.fileno(), zmq.POLLIN)
        self._tokens = itertools.count(1)

    def __enter__(self: Attached) -> Attached:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def nodes(self) -> list[NodeState]:
        """All nodes, dead ones included.  Raises the same as `ask`."""
        return self.ask(Nodes(), list[NodeState])

    def state(self) -> ClusterState:
        """The cluster at a glance.  Raises the same as `ask`."""
        return self.ask(ClusterUsage(), ClusterState)

    def ask(
        self, question: Question, kind: type[T], whom: Address = HEAD, timeout_s: float = ANSWER_S
    ) -> T:
        """Ask a question and return the answer.

        Args:
            question: what to ask.
            kind: the type of the answer, as the question's docstring names it.
            whom: the head, a raylet, or a process.
            timeout_s: how long to wait, in seconds.

        Raises:
            NoAnswerError: no answer in time.
            LaunchError: the cluster has ended, or the process cannot answer.
        """
        token = next(self._tokens)
        self._transport.send(whom, Request(token, question))
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            for message in self._receive(left):
                if isinstance(message, Reply) and message.token == token:
                    return _answer(message, kind)
        raise NoAnswerError("the cluster does not answer", ExitCode.HEAD_LOST)

    def ask_each(
        self,
        whom: Iterable[Address],
        question: Callable[[Address], Question],
        kind: type[T],
        timeout_s: float = ANSWER_S,
    ) -> dict[Address, T]:
        """Ask many at the same time; those that are silent or cannot answer are left out.

        Raises:
            LaunchError: the cluster has ended.
        """
        asked = {next(self._tokens): address for address in whom}
        for token, address in asked.items():
            self._transport.send(address, Request(token, question(address)))
        found: dict[Address, T] = {}
        deadline = time.monotonic() + timeout_s
        while asked and (left := deadline - time.monotonic()) > 0:
            for message in self._receive(left):
                if isinstance(message, Reply) and message.token in asked:
                    address = asked.pop(message.token)
                    if not message.error:
                        found[address] = _answer(message, kind)
        return found

    def wait(self, seconds: float) -> None:
        """Wait for some time.

        Raises:
            LaunchError: the cluster has ended, at once when it does.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._receive(left)

    def close(self) -> None:
        """Detach."""
        self._transport.close()
        self._context.destroy(linger=500)
        self._connection.close()

    def _receive(self, timeout_s: float) -> list[Any]:
        ready = dict(self._poller.poll(int(timeout_s * 1000) + 1))
        found = []
        for frame in self._transport.receive():
            message = self._decode(frame)
            if isinstance(message, Shutdown):
                raise LaunchError(f"the cluster ends: {message.reason}", ExitCode.HEAD_LOST)
            if isinstance(message, DirectAsk):  # it has none: a few questions do not need one
                self._transport.links.on_ask(source_of(frame), message)
            elif isinstance(message, Request):  # of whoever asks all processes of the node
                error = f"process {self._me} runs no task: it only asks"
                self._transport.send(source_of(frame), Reply(message.token, error=error))
            else:
                found.append(message)
        if self._connection.fileno() in ready:
            raise LaunchError("the cluster has ended: its node is gone", ExitCode.HEAD_LOST)
        return found


class Operator(Observer):
    """An attached process that also sends commands: rank 0, on behalf of the batch system."""

    _role = "operator"

    def tell(self, whom: Address, message: msgspec.Struct) -> None:
        """Send a message that has no answer."""
        self._transport.send(whom, message)


def attach(session_dir: str, role: str) -> tuple[dict[str, Any], socket.socket]:
    """Attach to a session's raylet in a role; returns its reply, and the connection.

    Raises:
        LaunchError: nobody answers there, or we are refused.
    """
    hello = {
        "protocol": PROTOCOL,
        "version": rayhpc_version(),
        "python": python_version(),
        "role": role,
        "pid": os.getpid(),
    }
    path = os.path.join(session_dir, ATTACH)
    try:
        session = expected_session(os.environ)
        reply, fds, connection = bootstrap.attach(path, hello, ATTACH_S, session)
    except bootstrap.AttachError as error:
        raise LaunchError(str(error), ExitCode.REFUSED) from None
    for descriptor in fds:
        os.close(descriptor)
    return reply, connection


def _answer(reply: Reply, kind: type[T]) -> T:
    if reply.error:
        raise LaunchError(reply.error)
    return msgspec.msgpack.decode(reply.data, type=kind)
