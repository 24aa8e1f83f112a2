"""Everything a node process is told when it starts, and how it travels.

Made by whoever starts a node (`spawn.py` sends it), read by `node.py`.  It holds the cluster's
secrets, so it goes through a pipe, never through arguments or the environment.
"""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec

from rayhpc.head.config import HeadConfig
from rayhpc.raylet.config import NodeConfig

_LENGTH_BYTES = 8
# A plan is a few kilobytes; anything beyond this is not one.
_MOST_BYTES = 1 << 24

Plan = TypeVar("Plan", bound=msgspec.Struct)


class NodePlan(msgspec.Struct, kw_only=True):
    """One node, from its directory to its end.

    Args:
        base: the private directory in which the session's own one is made.
        name: the name of that one; `raylet.session_dir` and `head.session_dir` are their join.
        raylet: what the raylet needs; on the head's node `raylet.cluster.head_endpoints` is filled
            in once the head listens.
        head: set on the head's node alone.
        kind: who starts it, as in `SessionRecord.kind`.
        job: the scheduler's job id, or empty.
        launcher: pid and start time of the `rayhpc run` that waits for the node's end, if one
            does: job signals are then its business alone.
        tied: the node ends when the pipe that brought this plan is closed.
        link_from: a directory in which a link to the session is kept (empty: none), so that it is
            found although its own base is an unusual one.
        logs_to: a directory to which the node's logs are copied at its end (empty: none).
        affinity: the processors to run on (empty: leave it).
        python_path: PYTHONPATH as it was before the starter changed it for this process alone.
    """

    base: str
    name: str
    raylet: NodeConfig
    head: HeadConfig | None = None
    kind: str = "start"
    job: str = ""
    launcher: tuple[int, int] | None = None
    tied: bool = True
    link_from: str = ""
    logs_to: str = ""
    affinity: list[int] = []
    python_path: str | None = None


def send_plan(descriptor: int, plan: msgspec.Struct) -> None:
    """Write a plan to a pipe, which stays open.

    Raises:
        BrokenPipeError: the node process has ended.
    """
    body = msgspec.msgpack.encode(plan)
    frame = memoryview(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
    while frame:
        frame = frame[os.write(descriptor, frame) :]


def receive_plan(descriptor: int) -> NodePlan | None:
    """Read a node's plan; see `receive`."""
    return receive(descriptor, NodePlan)


def receive(descriptor: int, kind: type[Plan]) -> Plan | None:
    """Read a plan from a pipe and nothing beyond it; None if the other end closes first.

    Raises:
        ValueError: what came is no plan of that kind.
    """
    head = _read(descriptor, _LENGTH_BYTES)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > _MOST_BYTES:
        raise ValueError("what came through the pipe is not a node's plan")
    body = _read(descriptor, length)
    return None if body is None else msgspec.msgpack.decode(body, type=kind)


def _read(descriptor: int, length: int) -> bytes | None:
    parts: list[bytes] = []
    while length:
        part = os.read(descriptor, min(length, 1 << 16))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
