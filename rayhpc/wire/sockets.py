"""The one place that makes sockets between processes, with the options that losing nothing takes.

Used by `transport`, `links`, `head_link` and the raylet.  Never makes a TCP socket without CURVE:
`bind_tcp` and `connect_tcp` refuse any other, and a TCP server asks ZAP about every client.

Why these options: ZeroMQ's defaults drop messages to slow or absent peers without an error, and
reconnect and resend by themselves, also to a stranger that has taken the peer's name.  Here a send
to a peer that is not there is an error, nothing is dropped while both ends live, and a connection
that breaks stays broken: who made it decides what follows.
"""

from __future__ import annotations

import errno
import os
import random
import socket

import zmq

from rayhpc.wire.keys import PUBLIC_BYTES, KeyPair

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]
PortRange = tuple[int, int] | None

MAX_FRAME_BYTES = 128 * 1024 * 1024
IPC_PATH_MAX = 107
BACKLOG = 4096

_EVENTS, _POLLIN, _NOBLOCK = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
# Without what `Socket.send` of pyzmq adds in Python for frames of other kinds: 1 µs a message.
_send = zmq.backend.Socket.send

# Milliseconds
LINGER = 500
HANDSHAKE = 10_000  # a server's patience: ZAP is answered between other work
FIRST_TRY = 1_000  # a client's, for its first try of an address
HEARTBEAT = 1_500
SILENCE = 5_000
# Six days.  Not -1, which says "never" but makes libzmq throw away what has arrived, and is not
# read yet, from a peer that has closed.  Who owns a connection disconnects when it breaks.
NEVER = 2**29


def make_router(context: Context, *, routing_id: bytes) -> Socket:
    """A ROUTER for ipc; its peers see `routing_id` (1 to 255 bytes, not starting with 0)."""
    sock = _make(context, zmq.ROUTER)
    sock.setsockopt(zmq.ROUTING_ID, routing_id)
    return sock


def bind_ipc(sock: Socket, path: str) -> None:
    """Listen on a path in the session's private directory.

    Raises:
        OSError: the path is too long, or cannot be made.
    """
    check_ipc_path(path)
    # Connections are tried once; many may come at a time.
    sock.setsockopt(zmq.BACKLOG, BACKLOG)
    sock.bind(f"ipc://{path}")
    # Users' own masks make it less private than the directory it lies in.
    os.chmod(path, 0o600)


def connect_ipc(sock: Socket, path: str, name: bytes) -> None:
    """Connect a ROUTER to a path; the peer is called `name` here.

    `name` must never have been used on this socket before: libzmq ends the process if two of its
    peers have the same.  Nobody may listen there yet, but then nobody ever hears what is sent over
    this connection: it is tried once (see `listens_ipc`).
    """
    check_ipc_path(path)
    sock.setsockopt(zmq.CONNECT_ROUTING_ID, name)
    sock.connect(f"ipc://{path}")


def listens_ipc(path: str) -> bool:
    """Whether somebody listens on a path now; if it cannot be found out, yes."""
    try:
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:  # no descriptor is left
        return True
    with probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # so many have come that it must listen
            return True
        except OSError:
            return False
    return True


def disconnect_ipc(sock: Socket, path: str) -> None:
    """Drop the connection to a path, if there is one, and what waits to be sent to it."""
    _disconnect(sock, f"ipc://{path}")


def check_ipc_path(path: str) -> None:
    """Refuse a path that the kernel would.

    Raises:
        OSError: it is longer than a Unix socket's path may be.
    """
    if len(os.fsencode(path)) > IPC_PATH_MAX:
        raise OSError(
            f"The socket path {path!r} is longer than {IPC_PATH_MAX} bytes, which is all that Unix "
            "sockets take. Point RAYHPC_TMPDIR (or TMPDIR) at a directory with a shorter name."
        )


def make_tcp_server(context: Context, keys: KeyPair, domain: bytes) -> Socket:
    """A ROUTER that listens on TCP with `keys`; `zap.Zap` decides who is let in.

    `domain` is ZAP's, and must not be empty: with an empty one, nobody would be asked.
    """
    if not domain:
        raise ValueError("a TCP server needs a ZAP domain")
    sock = _make(context, zmq.ROUTER)
    _set_tcp(sock)
    sock.setsockopt(zmq.BACKLOG, BACKLOG)
    sock.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE)
    sock.setsockopt(zmq.CURVE_SERVER, 1)
    sock.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    sock.setsockopt(zmq.ZAP_DOMAIN, domain)
    sock.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    return sock


def bind_tcp(sock: Socket, ip: str, port: int, ports: PortRange) -> int:
    """Listen on one address.

    Args:
        sock: made by `make_tcp_server`.
        ip: the interface's address (IPv4 or IPv6), never a name.
        port: 0 for a free one.
        ports: first and last port that a free one may be (None: the system's choice).

    Returns:
        The port.

    Raises:
        ValueError: the socket would not be encrypted, or would let anybody in.
        OSError: the address is not this computer's, or no port is free.
    """
    enforced = sock.getsockopt(zmq.ZAP_DOMAIN) and sock.getsockopt(zmq.ZAP_ENFORCE_DOMAIN)
    if not sock.getsockopt(zmq.CURVE_SERVER) or not enforced:
        raise ValueError("bind_tcp takes only sockets made by make_tcp_server")
    sock.setsockopt(zmq.IPV6, ":" in ip)
    if port or ports is None:
        return _bind_one(sock, ip, port)
    choice = list(range(ports[0], ports[1] + 1))
    random.shuffle(choice)  # many nodes of one user may share a computer
    for candidate in choice:
        try:
            return _bind_one(sock, ip, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(
        errno.EADDRINUSE,
        f"all ports from {ports[0]} to {ports[1]} are taken on {ip}; "
        "give a wider range with --port-range",
    )


def make_tcp_client(context: Context, kind: int, client: KeyPair, *, routing_id: bytes) -> Socket:
    """A socket (zmq.ROUTER or zmq.DEALER) that connects over TCP as `client`."""
    sock = _make(context, kind)
    _set_tcp(sock)
    sock.setsockopt(zmq.ROUTING_ID, routing_id)
    sock.setsockopt(zmq.CURVE_PUBLICKEY, client.public)
    sock.setsockopt(zmq.CURVE_SECRETKEY, client.secret)
    return sock


def connect_tcp(
    sock: Socket,
    ip: str,
    port: int,
    server_key: bytes,
    name: bytes,
    patience_ms: int = FIRST_TRY,
) -> str:
    """Start to connect to a listener that must prove to have `server_key`.

    Args:
        sock: made by `make_tcp_client`.
        ip: the listener's address.
        port: its port.
        server_key: its public key (Z85).
        name: a ROUTER calls the peer so, a DEALER itself; never used on this socket before.
        patience_ms: after this time the try has failed, for each of TCP's and CURVE's part.

    Returns:
        The endpoint, as the socket's monitor names it and `disconnect_tcp` takes it.

    Raises:
        ValueError: the socket would not be encrypted.
    """
    if sock.getsockopt(zmq.MECHANISM) != zmq.CURVE or len(server_key) != PUBLIC_BYTES:
        raise ValueError("connect_tcp takes a socket made by make_tcp_client, and a server's key")
    router = sock.getsockopt(zmq.TYPE) == zmq.ROUTER
    sock.setsockopt(zmq.CONNECT_ROUTING_ID if router else zmq.ROUTING_ID, name)
    sock.setsockopt(zmq.CURVE_SERVERKEY, server_key)
    sock.setsockopt(zmq.CONNECT_TIMEOUT, patience_ms)
    sock.setsockopt(zmq.HANDSHAKE_IVL, patience_ms)
    sock.setsockopt(zmq.IPV6, ":" in ip)
    endpoint = tcp_endpoint(ip, port)
    sock.connect(endpoint)
    return endpoint


def disconnect_tcp(sock: Socket, endpoint: str) -> None:
    """End a connection or a try, and drop what waits to be sent over it."""
    _disconnect(sock, endpoint)


def tcp_endpoint(ip: str, port: int) -> str:
    """An address the way ZeroMQ writes it."""
    return f"tcp://[{ip}]:{port}" if ":" in ip else f"tcp://{ip}:{port}"


def send_to(sock: Socket, name: bytes, frame: bytes) -> bool:
    """Send a frame over a ROUTER to the peer called `name`; False: there is none."""
    try:
        _send(sock, name, _MORE)
        _send(sock, frame, _NOBLOCK)
    except zmq.ZMQError as error:
        if error.errno != zmq.EHOSTUNREACH:
            raise
        return False
    return True


def has_input(sock: Socket) -> bool:
    """Whether there is something to receive; takes a third of the time of a refused `recv`."""
    return bool(sock.getsockopt(_EVENTS) & _POLLIN)  # type: ignore[operator]


def skip_rest(sock: Socket) -> None:
    """Drop what follows the frame of a message: nobody of ours sends more than one."""
    while sock.getsockopt(zmq.RCVMORE):
        sock.recv()


def check_frame(frame: bytes) -> None:
    """Refuse what the receiver would break the connection for.

    Raises:
        ValueError: the frame is larger than MAX_FRAME_BYTES.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise ValueError(
            f"A message of {len(frame) >> 20} MiB is too large to send (at most "
            f"{MAX_FRAME_BYTES >> 20} MiB): put large data that a function or class uses into the "
            "object store with rayhpc.put and pass the reference."
        )


def _make(context: Context, kind: int) -> Socket:
    sock = context.socket(kind)
    sock.setsockopt(zmq.SNDHWM, 0)
    sock.setsockopt(zmq.RCVHWM, 0)
    sock.setsockopt(zmq.LINGER, LINGER)
    sock.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    sock.setsockopt(zmq.RECONNECT_IVL, NEVER)
    if kind == zmq.ROUTER:
        sock.setsockopt(zmq.ROUTER_MANDATORY, 1)
    return sock


def _set_tcp(sock: Socket) -> None:
    sock.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT)
    sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE)
    sock.setsockopt(zmq.HEARTBEAT_TTL, SILENCE)
    sock.setsockopt(zmq.TCP_KEEPALIVE, 1)
    sock.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
    sock.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
    sock.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)


def _bind_one(sock: Socket, ip: str, port: int) -> int:
    endpoint = tcp_endpoint(ip, port)
    try:
        sock.bind(endpoint)
    except zmq.ZMQError as error:
        raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from error
    return int(sock.get_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def _disconnect(sock: Socket, endpoint: str) -> None:
    try:
        sock.disconnect(endpoint)
    except zmq.ZMQError as error:
        if error.errno != errno.ENOENT:  # it has ended by itself
            raise
