"""The only place that creates sockets between processes, with the options needed to lose nothing.

Used by `transport`, `links`, `head_link` and the raylet.  Never creates a TCP socket without CURVE:
`bind_tcp` and `connect_tcp` reject any other, and a TCP server asks ZAP about every client.

Why these options: ZeroMQ's defaults drop messages to slow or absent peers without an error, and
reconnect and resend on their own, even to a stranger that has taken the peer's name.  Here a send
to an absent peer is an error, nothing is dropped while both ends live, and a broken connection
stays broken: its creator decides what follows.
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
# Without what pyzmq's `Socket.send` adds in Python for other kinds of frames: 1 µs a message.
_send = zmq.backend.Socket.send

# Milliseconds
LINGER = 500
HANDSHAKE = 10_000  # a server's limit: ZAP is answered between other work
FIRST_TRY = 1_000  # a client's limit, for its first attempt at an address
HEARTBEAT = 1_500
SILENCE = 5_000
# Six days.  Not -1, which means "never" but makes libzmq drop what has arrived and is still unread
# from a peer that has closed.  The owner of a connection disconnects when it breaks.
NEVER = 2**29


def make_router(context: Context, *, routing_id: bytes) -> Socket:
    """A ROUTER for ipc; its peers see `routing_id` (1 to 255 bytes, not starting with 0)."""
    sock = _make(context, zmq.ROUTER)
    sock.setsockopt(zmq.ROUTING_ID, routing_id)
    return sock


def protect_server(sock: Socket, key: KeyPair) -> None:
    """Let only processes that know `key` connect to this ROUTER for ipc; before `bind_ipc`.

    Where an ipc path's owner and mode protect nothing.  Its public half is as secret as the other:
    who does not know it cannot complete a handshake.  So no process has to answer ZAP's questions,
    which one that is busy with user code could not.
    """
    sock.setsockopt(zmq.CURVE_SERVER, 1)
    sock.setsockopt(zmq.CURVE_SECRETKEY, key.secret)
    sock.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE)
    # With an empty domain that is enforced, ZAP is not asked.
    sock.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def protect_client(sock: Socket, key: KeyPair) -> None:
    """Connect this ROUTER only to processes that know `key`; before `connect_ipc`."""
    sock.setsockopt(zmq.CURVE_SERVERKEY, key.public)
    sock.setsockopt(zmq.CURVE_PUBLICKEY, key.public)
    sock.setsockopt(zmq.CURVE_SECRETKEY, key.secret)


def bind_ipc(sock: Socket, path: str) -> None:
    """Listen on a path in the session's private directory.

    Raises:
        OSError: the path is too long, or cannot be made.
    """
    check_ipc_path(path)
    # Connections are attempted once; many may arrive at a time.
    sock.setsockopt(zmq.BACKLOG, BACKLOG)
    sock.bind(f"ipc://{path}")
    # A user's umask may make it less private than its directory.
    os.chmod(path, 0o600)


def connect_ipc(sock: Socket, path: str, name: bytes) -> None:
    """Connect a ROUTER to a path; the peer is called `name` here.

    `name` must never have been used on this socket before: libzmq aborts the process if two of its
    peers have the same name.  Nothing needs to listen there yet, but then nobody ever receives what
    is sent over this connection: it is attempted once (see `listens_ipc`).
    """
    check_ipc_path(path)
    sock.setsockopt(zmq.CONNECT_ROUTING_ID, name)
    sock.connect(f"ipc://{path}")


def listens_ipc(path: str) -> bool:
    """Whether a process listens on a path now; True if that cannot be determined."""
    try:
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:  # out of descriptors
        return True
    with probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # its queue is full, so it listens
            return True
        except OSError:
            return False
    return True


def disconnect_ipc(sock: Socket, path: str) -> None:
    """Drop the connection to a path, if there is one, and what waits to be sent over it."""
    _disconnect(sock, f"ipc://{path}")


def check_ipc_path(path: str) -> None:
    """Reject a path that the kernel would reject.

    Raises:
        OSError: it is longer than the path of a Unix socket may be.
    """
    if len(os.fsencode(path)) > IPC_PATH_MAX:
        raise OSError(
            f"The socket path {path!r} is longer than {IPC_PATH_MAX} bytes, the limit of Unix "
            "sockets. Point RAYHPC_TMPDIR (or TMPDIR) at a directory with a shorter name."
        )


def make_tcp_server(context: Context, keys: KeyPair, domain: bytes) -> Socket:
    """A ROUTER that listens on TCP with `keys`; `zap.Zap` decides which clients are admitted.

    `domain` is ZAP's and must not be empty: with an empty one, ZAP would not be asked.
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
        sock: created by `make_tcp_server`.
        ip: the interface's address (IPv4 or IPv6), never a name.
        port: 0 for a free one.
        ports: the range for a free port, both ends included (None: the system's choice).

    Returns:
        The port.

    Raises:
        ValueError: the socket would not be encrypted, or would admit anyone.
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
    """Start connecting to a listener that must prove it has `server_key`.

    Args:
        sock: created by `make_tcp_client`.
        ip: the listener's address.
        port: its port.
        server_key: its public key (Z85).
        name: a ROUTER's name for the peer, a DEALER's own name; never used on this socket before.
        patience_ms: the limit for the attempt, for TCP's and CURVE's part each.

    Returns:
        The endpoint, as the socket's monitor reports it and `disconnect_tcp` accepts it.

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
    """End a connection or an attempt, and drop what waits to be sent over it."""
    _disconnect(sock, endpoint)


def notice_silence(sock: Socket, silence_ms: int) -> None:
    """Have connections of a TCP socket broken if nothing comes for so long (1.5 times, at most)."""
    sock.setsockopt(zmq.HEARTBEAT_IVL, silence_ms // 2)
    sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, silence_ms)


def tcp_endpoint(ip: str, port: int) -> str:
    """An address in ZeroMQ's notation."""
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
    """Drop any further frames of a message: our processes never send more than one."""
    while sock.getsockopt(zmq.RCVMORE):
        sock.recv()


def check_frame(frame: bytes) -> None:
    """Reject a frame for which the receiver would break the connection.

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
        if error.errno != errno.ENOENT:  # it has already ended
            raise
