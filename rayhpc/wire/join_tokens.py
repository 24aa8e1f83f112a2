"""One-time tokens: what a machine that is on its way carries instead of the cluster's key.

Where a machine's description can be read by others (user data, pod specs and their Secrets), it
holds a token.  Its node trades that for the cluster's key: once, from the address that its provider
says the machine has, within 15 minutes.  `TokenServer` runs beside whatever asks for machines,
`redeem` in the command that starts a node.  Never writes a token or a key anywhere.

A token is a CURVE client key pair with the server's public key and addresses, so the trade is
encrypted and both sides are authenticated before a byte of it is read.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import msgspec
import zmq

from rayhpc.machine.polling import milliseconds
from rayhpc.wire import keys, sockets
from rayhpc.wire.keys import ClusterKey, KeyPair
from rayhpc.wire.messages.join_tokens import Redeem, Redeemed
from rayhpc.wire.zap import Zap

logger = logging.getLogger("rayhpc")

#: How long a token is good for.
TOKEN_S = 15 * 60.0
TOKEN_VERSION = 1
_DOMAIN = b"rayhpc-tokens"
_ANSWER_S = 5.0
_PAUSE_S = 0.2
_CLOSE_S = 2.0
#: The addresses that a machine is known to have; None: not known yet.
Addresses = Callable[[str], Collection[str] | None]


class Pause(Protocol):
    """Waits so many seconds, or until a descriptor is readable; raises what ends the wait."""

    def __call__(self, seconds: float, /, *descriptors: int) -> None: ...


class TokenError(Exception):
    """A token cannot be traded for the key; the text says why and what to do."""


class JoinToken(msgspec.Struct, frozen=True):
    """A token; secret until it is used.

    Attributes:
        machine: the machine that it was issued for.
        client: the key pair that only this token has.
        server: the server's public key.
        endpoints: where the server listens, best first.
    """

    machine: str
    client: KeyPair
    server: bytes
    endpoints: list[tuple[str, int]]
    version: int = TOKEN_VERSION

    def __repr__(self) -> str:
        return f"JoinToken(machine={self.machine!r})"


def encode(token: JoinToken) -> bytes:
    """The token as one line of JSON, which `decode` reads; secret."""
    return msgspec.json.encode(token) + b"\n"


def decode(data: bytes, source: str) -> JoinToken:
    """Read what `encode` wrote; `source` names it in errors.

    Raises:
        TokenError: it is no token, or one of another version of rayhpc.
    """
    try:
        token = msgspec.json.decode(data, type=JoinToken)
    except msgspec.DecodeError:
        # Not chained: msgspec's message may quote its input.
        raise TokenError(f"{source} holds no join token of rayhpc") from None
    if token.version != TOKEN_VERSION:
        raise TokenError(f"{source}: a token of another version of rayhpc: use the head's here")
    return token


@dataclass
class _Issued:
    machine: str
    until: float
    is_used: bool = False


class TokenServer:
    """Issues tokens for the machines of one cluster, and trades them, in a thread of its own.

    Args:
        key: what they are traded for.
        ips: this machine's addresses to listen on, best first.
        addresses: which addresses a machine has, by its provider; may take seconds.
        now: seconds, for the end of a token's time.

    Raises:
        OSError: none of the addresses is this machine's.
    """

    def __init__(
        self,
        key: ClusterKey,
        ips: Collection[str],
        addresses: Addresses,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key, self._addresses, self._now = key, addresses, now
        self._pair = keys.new_key_pair()
        self._issued: dict[bytes, _Issued] = {}
        self._guard = threading.Lock()
        self._context: sockets.Context = zmq.Context(io_threads=1)
        self._zap = Zap(self._context, ())
        self._sock = sockets.make_tcp_server(self._context, self._pair, _DOMAIN)
        self._awake, self._wake = os.pipe()
        try:
            self._endpoints = [(ip, sockets.bind_tcp(self._sock, ip, 0, None)) for ip in ips]
        except OSError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._serve, name="tokens", daemon=True)
        self._thread.start()

    def issue(self, machine: str) -> JoinToken:
        """A new token for a machine.  Those issued for it before stay good, until one is used."""
        client = keys.new_key_pair()
        with self._guard:
            self._issued[client.public] = _Issued(machine, self._now() + TOKEN_S)
            self._zap.admit(client.public)
        return JoinToken(machine, client, self._pair.public, self._endpoints)

    def close(self) -> None:
        """Stop: tokens that have not been used are worth nothing any more.

        A provider that is just being asked where a machine is holds nobody up.
        """
        os.write(self._wake, b"x")
        self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():
            self._close()

    # -- the thread ------------------------------------------------------------------------------
    def _serve(self) -> None:
        poller = zmq.Poller()
        for each in (self._sock, self._zap.socket):
            poller.register(each, zmq.POLLIN)
        poller.register(self._awake, zmq.POLLIN)
        while self._awake not in dict(poller.poll()):
            self._zap.serve()
            while sockets.has_input(self._sock):
                self._answer()

    def _answer(self) -> None:
        peer, body = self._sock.recv_multipart(copy=False)[:2]
        try:
            machine = msgspec.msgpack.decode(body.buffer, type=Redeem).machine
            answer = self._decide(str(body.get("User-Id")), str(body.get("Peer-Address")), machine)
        except (msgspec.DecodeError, zmq.ZMQError) as error:
            logger.warning("a join token came with something else than its question: %s", error)
            return
        sockets.send_to(self._sock, peer.bytes, msgspec.msgpack.encode(answer))

    def _decide(self, public: str, peer: str, machine: str) -> Redeemed:
        issued = self._issued.get(public.encode())
        if issued is None or issued.machine != machine:
            return Redeemed(error="this token was issued for another machine")
        if issued.is_used:
            return Redeemed(error="this token has been used: each is good for one machine, once")
        if self._now() >= issued.until:
            return Redeemed(error="this token is too old: each is good for 15 minutes")
        known = self._addresses(machine)
        if known is None:
            return Redeemed(error=f"the address of {machine} is not known yet", again=True)
        if _plain(peer) not in {_plain(each) for each in known}:
            logger.warning(
                "refused the token of %s from %s: it is at %s", machine, peer, ", ".join(known)
            )
            return Redeemed(error=f"it came from {peer}, which is not an address of {machine}")
        with self._guard:
            for each in self._issued.values():
                each.is_used = each.is_used or each.machine == machine
        return Redeemed(self._key)

    def _close(self) -> None:
        self._sock.close(0)
        self._zap.close()
        self._context.term()
        os.close(self._awake)
        os.close(self._wake)


def pause(seconds: float, /, *descriptors: int) -> None:
    """Wait this long, or until a descriptor is readable; nothing ends it sooner."""
    poll = select.poll()
    for each in descriptors:
        poll.register(each, select.POLLIN)
    poll.poll(milliseconds(seconds))


def redeem(token: JoinToken, within_s: float = 60.0, wait: Pause = pause) -> ClusterKey:
    """Trade a token for the cluster's key.

    Args:
        token: the token that this machine was given.
        within_s: how long to try, in seconds.
        wait: how to wait; whoever may be told to end meanwhile raises an error there.

    Raises:
        TokenError: it is refused, or nobody answers.
    """
    deadline = time.monotonic() + within_s
    context: sockets.Context = zmq.Context(io_threads=1)
    try:
        while True:
            answer = _ask_all(context, token, wait)
            if answer is not None and answer.key is not None:
                return answer.key
            if answer is not None and not answer.again:
                raise TokenError(f"the cluster's key was refused: {answer.error}")
            if time.monotonic() >= deadline:
                places = ", ".join(f"{ip}:{port}" for ip, port in token.endpoints)
                why = answer.error if answer is not None else f"nobody answers at {places}"
                raise TokenError(f"no key within {within_s:g} s: {why}")
            wait(_PAUSE_S)
    finally:
        context.term()


def _ask_all(context: sockets.Context, token: JoinToken, wait: Pause) -> Redeemed | None:
    found = (_ask(context, token, place, wait) for place in token.endpoints)
    return next((each for each in found if each is not None), None)


def _ask(
    context: sockets.Context, token: JoinToken, place: tuple[str, int], wait: Pause
) -> Redeemed | None:
    name = os.urandom(8).hex().encode()
    sock = sockets.make_tcp_client(context, zmq.DEALER, token.client, routing_id=name)
    try:
        sock.setsockopt(zmq.LINGER, 0)
        sockets.connect_tcp(sock, *place, token.server, name)
        sock.send(msgspec.msgpack.encode(Redeem(token.machine)))
        if not _is_answered(sock, wait):
            return None
        return msgspec.msgpack.decode(sock.recv(), type=Redeemed)
    except (msgspec.DecodeError, zmq.ZMQError):
        return None
    finally:
        sock.close()


def _is_answered(sock: sockets.Socket, wait: Pause) -> bool:
    """Whether an answer comes in time; ZeroMQ's descriptor only says that there is news."""
    deadline = time.monotonic() + _ANSWER_S
    while not sockets.has_input(sock):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        wait(left, sock.FD)
    return True


def load(path: str) -> JoinToken:
    """Read a token's file; it may lie where the place puts such files, of any owner and mode.

    Raises:
        TokenError: it cannot be read, or is no token.
    """
    try:
        with open(path, "rb") as file:
            return decode(file.read(65536), path)
    except OSError as error:
        raise TokenError(f"the token's file {path} cannot be read: {error.strerror}") from None


def _plain(address: str) -> str:
    """An address in one spelling: IPv4 inside IPv6 is IPv4."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)
