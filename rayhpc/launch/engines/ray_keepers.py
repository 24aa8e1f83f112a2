"""Keeps a Ray node: watches its Ray, its starter, and its counterparts on other nodes.

Used by `ray_node`.  On rank 0 (`HeadKeeper`) it listens, under CURVE, for those of the other ranks
(`MemberKeeper`): through that connection they get Ray's address and token, report that they have
joined, and notice that rank 0 has ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from abc import ABC, abstractmethod
from types import FrameType
from typing import Any

import msgspec
import zmq

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.engines.ray_plan import RayPlan
from rayhpc.launch.engines.ray_process import RayProcess
from rayhpc.raylet.config import IN_ORDER
from rayhpc.raylet.forkserver_loop import own_children
from rayhpc.wire import codec
from rayhpc.wire.head_link import HeadLink, HeadServer
from rayhpc.wire.messages import ray_engine as messages
from rayhpc.wire.sockets import LINGER


class OverError(Exception):
    """The node ends, with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Keeper(ABC):
    """The part common to all ranks.

    Args:
        plan: the node's plan.
        said: where lines for the starter are written.
        life: the starter is gone when this ends.
        guard: the process that cleans up after this one is gone when this ends.
    """

    def __init__(self, plan: RayPlan, said: int, life: int, guard: int) -> None:
        self._plan = plan
        self._said = said
        self._life = life
        self._guard = guard
        self._wake = _wake_on_children()
        self._in_order = False
        self._ray: RayProcess | None = None
        self._is_up = False
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._poller = zmq.Poller()
        for descriptor in (life, guard, self._wake):
            self._poller.register(descriptor, zmq.POLLIN)

    def live(self) -> int:
        """Run until the end; returns the exit code."""
        try:
            self._begin()
            while True:
                self._turn(dict(self._poller.poll()))
        except OverError as over:
            return over.code

    def _start_ray(self, address: str, token: str) -> None:
        self._ray = RayProcess(self._plan, address, token)
        self._poller.register(self._ray.output, zmq.POLLIN)

    def _turn(self, ready: dict[Any, int]) -> None:
        if self._guard in ready:
            raise OverError(ExitCode.NODE_LOST)
        if self._life in ready:
            self._read_life()
        if self._wake in ready:
            os.read(self._wake, 4096)
        ray = self._ray
        if ray is not None:
            if ray.output in ready and not ray.listen():
                self._poller.unregister(ray.output)
            self._look_after(ray)
        self._hear()

    def _look_after(self, ray: RayProcess) -> None:
        for pid in own_children() - {ray.pid}:
            os.waitpid(pid, os.WNOHANG)  # inherited, as the subreaper
        why = ray.ended()
        if why and not self._is_up:
            raise LaunchError(f"Ray has not started on {self._plan.host}: {why}")
        if why:
            print(f"Ray has ended, {why}", file=sys.stderr)
            self._on_ray_ended(why)
            raise OverError(ExitCode.NODE_LOST)
        if not self._is_up and (address := ray.address()):
            self._is_up = True
            self._on_up(address)

    def _read_life(self) -> None:
        data = os.read(self._life, 16)
        self._in_order = self._in_order or IN_ORDER in data
        if not data:
            if self._ray is not None and not self._is_up:
                print(f"Ray has not started in time{self._ray.tail()}", file=sys.stderr)
            raise OverError(0)

    @abstractmethod
    def _begin(self) -> None:
        """Start this node's Ray, or request what it needs."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect from the others."""

    @abstractmethod
    def _hear(self) -> None:
        """Read messages from the others."""

    @abstractmethod
    def _on_up(self, address: str) -> None:
        """This node's Ray is up, at `address`."""

    @abstractmethod
    def _on_ray_ended(self, why: str) -> None:
        """This node's Ray has ended, for this reason."""


class HeadKeeper(Keeper):
    """Rank 0's node: Ray's head, and the listener for the others."""

    def _begin(self) -> None:
        # Before ZeroMQ has threads.
        self._start_ray("", self._plan.token)
        assert self._plan.server is not None
        self._context = zmq.Context()
        self._server = HeadServer(self._context, self._plan.server, self._plan.key.node.public)
        self._decode = codec.Decoder(messages.HEAD_TAKES)
        self._peers: dict[bytes, messages.JoinRay] = {}
        self._left: dict[bytes, str] = {}
        self._address = ""
        self._endpoints = self._server.listen(self._plan.bind, 0, self._plan.ports)
        for each in self._server.sockets:
            self._poller.register(each, zmq.POLLIN)

    def close(self) -> None:
        """Tell the others that it is over."""
        if self._context is None:
            return
        code = 0 if self._in_order else int(ExitCode.HEAD_LOST)
        for peer in self._peers:
            self._send(peer, messages.RayOver(code))
        self._server.close()
        self._context.destroy(linger=LINGER)

    def _on_up(self, address: str) -> None:
        self._address = address
        port = int(address.rpartition(":")[2])
        facts = {"address": address, "endpoints": self._endpoints}
        say(self._said, {"ok": True, "node": 0, "node_id": "", "port": port, **facts})
        # The reader may read only at the end; then what does not fit is not worth waiting for.
        os.set_blocking(self._said, False)

    def _on_ray_ended(self, why: str) -> None:
        """Nothing to do here: `close` tells the others."""

    def _hear(self) -> None:
        for peer, frame in self._server.receive():
            try:
                message = self._decode(frame)
            except msgspec.DecodeError as error:
                print(f"refused a malformed message: {error}", file=sys.stderr)
                continue
            if isinstance(message, messages.JoinRay):
                self._on_join(peer, message)
            elif peer in self._peers:
                self._on_word(peer, message)
        for peer in self._server.lost():
            node = self._peers.pop(peer, None)
            if node is not None:
                why = self._left.pop(peer, "its connection to rank 0 broke")
                say(self._said, {"lost": node.node, "host": node.host, "why": why})

    def _on_join(self, peer: bytes, message: messages.JoinRay) -> None:
        ours = self._plan.install
        if (message.ray, message.python) != (ours.version, ours.python):
            reason = (
                f"{message.host} has Ray {message.ray} with Python {message.python}, and rank 0 "
                f"on {self._plan.host} has Ray {ours.version} with Python {ours.python}: start "
                "all ranks in the same environment"
            )
            self._send(peer, messages.RayRefused(reason))
            return
        self._peers[peer] = message
        self._send(peer, messages.RayIs(self._address, self._plan.token))

    def _on_word(self, peer: bytes, message: Any) -> None:
        node = self._peers[peer]
        if isinstance(message, messages.RayNodeUp):
            say(self._said, {"joined": node.node, "host": node.host})
        elif isinstance(message, messages.RayNodeEnded):
            self._left[peer] = message.why

    def _send(self, peer: bytes, message: msgspec.Struct) -> None:
        self._server.send_frame(peer, codec.encode(0, 0, message))


class MemberKeeper(Keeper):
    """Any other node."""

    def _begin(self) -> None:
        self._context = zmq.Context()
        self._link = HeadLink(self._context, self._plan.key)
        self._decode = codec.Decoder(messages.NODE_TAKES)
        for each in self._link.sockets:
            self._poller.register(each, zmq.POLLIN)
        ours = self._plan.install
        host = self._plan.host
        self._send(messages.JoinRay(self._plan.node, host, ours.version, ours.python))

    def close(self) -> None:
        """Let queued messages go out."""
        if self._context is None:
            return
        self._link.close()
        self._context.destroy(linger=LINGER)

    def _on_up(self, address: str) -> None:
        self._send(messages.RayNodeUp())
        say(self._said, {"ok": True, "node": self._plan.node, "node_id": "", "port": 0})

    def _on_ray_ended(self, why: str) -> None:
        first = why.splitlines()[0].rstrip(";: ").removesuffix("; it said")
        self._send(messages.RayNodeEnded(f"its Ray has ended, {first}"))

    def _hear(self) -> None:
        for frame in self._link.receive():
            self._on_message(self._decode(frame))
        if not self._link.is_lost():
            return
        if not self._is_up:
            code = ExitCode.REFUSED if self._link.is_refused() else ExitCode.HEAD_LOST
            raise LaunchError(f"rank 0 cannot be reached: {self._link.why()}", code)
        print(f"rank 0 is gone: {self._link.why()}", file=sys.stderr)
        raise OverError(ExitCode.HEAD_LOST)

    def _on_message(self, message: Any) -> None:
        if isinstance(message, messages.RayIs):
            if self._ray is None:
                self._start_ray(message.address, message.token)
        elif isinstance(message, messages.RayRefused):
            raise LaunchError(message.reason, ExitCode.REFUSED)
        elif self._is_up:
            raise OverError(message.code)
        else:
            raise LaunchError("rank 0 has ended the cluster while it started", ExitCode.HEAD_LOST)

    def _send(self, message: msgspec.Struct) -> None:
        self._link.send_frame(codec.encode(0, 0, message))


def _wake_on_children() -> int:
    """A descriptor that becomes readable when a child ends."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, do_nothing)
    return read


def say(descriptor: int, facts: dict[str, Any]) -> None:
    """Write one line to our starter, if it is there and reads."""
    try:
        os.write(descriptor, json.dumps(facts).encode() + b"\n")
    except OSError:
        print(facts, file=sys.stderr)


def do_nothing(signum: int, frame: FrameType | None) -> None:
    """Handler for a signal meant for other processes."""
