"""Joining the cluster: the first exchange with the head, before a raylet has a number.

Used by `main`, once; and what is said to a head that has come back.
"""

from __future__ import annotations

import os
import time
from collections import deque

import msgspec
import zmq

from rayhpc.raylet.config import HEAD_LOST, INTERNAL, REFUSED, NodeConfig
from rayhpc.raylet.descriptors import Descriptors
from rayhpc.wire import codec
from rayhpc.wire.address import HEAD, NodeNumber
from rayhpc.wire.head_link import HeadLink
from rayhpc.wire.messages import cluster
from rayhpc.wire.messages.common import NodeInfo

WITHIN_S = 15.0
# A head that nobody finds may just be starting again; one that had answered before surely is.
ABSENT_S = 5.0
_PAUSE_MS = 100

_decode = codec.Decoder((cluster.Registered, cluster.RegistrationRefused))


class JoinError(Exception):
    """The node cannot join; `code` is the exit code for it."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


def node_info(config: NodeConfig, endpoints: list[tuple[str, int]], key: bytes) -> NodeInfo:
    """What the cluster is told about this node."""
    return NodeInfo(
        number=0,
        node_id=config.node_id,
        ip=config.node_ip,
        hostname=config.hostname,
        endpoints=endpoints,
        key=key,
        total=config.total,
        labels=config.labels,
        store_bytes=config.store_bytes,
        is_head=config.is_head,
        pid=os.getpid(),
        session_dir=config.session_dir,
        rank=config.rank,
    )


def rejoining(
    config: NodeConfig, number: NodeNumber, usage: cluster.Usage, received: int, now: float
) -> cluster.RejoinNode:
    """What a node asks a head that has come back, to be taken back.

    Args:
        config: the node.
        number: what it is called in the cluster.
        usage: what is free on it.
        received: how many of the head's counted messages have come.
        now: the time by this node's clock, in seconds.
    """
    return cluster.RejoinNode(
        config.cluster.cluster_id,
        cluster.PROTOCOL,
        config.python,
        config.version,
        number,
        config.node_id,
        received,
        usage,
        now,
    )


def join(
    config: NodeConfig, info: NodeInfo, head: HeadLink, descriptors: Descriptors
) -> tuple[cluster.Registered, deque[bytes]]:
    """Register with the head; returns its welcome, and the frames that came right after it.

    Raises:
        JoinError: the head cannot be reached, does not answer, or refuses.
    """
    message = cluster.RegisterNode(
        config.cluster.cluster_id,
        cluster.PROTOCOL,
        config.python,
        config.version,
        info,
        time.time(),
    )
    frame = codec.encode(HEAD, 0, message)
    head.send_frame(frame)
    poller = zmq.Poller()
    for each in (*head.sockets, descriptors.fileno()):
        poller.register(each, zmq.POLLIN)
    begun, was_there = time.monotonic(), False
    deadline = begun + WITHIN_S
    while (left := deadline - time.monotonic()) > 0:
        poller.poll(int(left * 1000) + 1)
        descriptors.serve()
        frames = deque(head.receive())
        if frames:
            return _welcome(frames.popleft()), frames
        was_there = was_there or head.is_up()
        if not head.is_lost():
            continue
        if head.is_refused() or not (was_there or time.monotonic() < begun + ABSENT_S):
            code = REFUSED if head.is_refused() else HEAD_LOST
            raise JoinError(f"The head cannot be reached: {head.why()}.", code)
        poller.poll(_PAUSE_MS)
        descriptors.serve()
        head.redial()
        head.send_frame(frame)
    raise JoinError(
        f"The head has not answered within {WITHIN_S:g} s; its log says why.", HEAD_LOST
    )


def _welcome(frame: bytes) -> cluster.Registered:
    try:
        message = _decode(frame)
    except msgspec.DecodeError as error:
        raise JoinError(f"The head has answered nonsense: {error}", INTERNAL) from None
    if isinstance(message, cluster.RegistrationRefused):
        raise JoinError(message.reason, REFUSED)
    assert isinstance(message, cluster.Registered)
    return message
