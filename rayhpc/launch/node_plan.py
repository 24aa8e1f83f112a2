"""Everything a node process is given when it starts, and how it is sent.

Created by whatever starts a node (`spawn.py` sends it), read by `node.py`.  It contains the
cluster's secrets, so it goes through a pipe, never through arguments or the environment.
"""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec

from rayhpc.head.config import HeadConfig
from rayhpc.raylet.config import NodeConfig

_LENGTH_BYTES = 8
# A plan is a few kilobytes; anything larger is not one.
_MOST_BYTES = 1 << 24

Plan = TypeVar("Plan", bound=msgspec.Struct)


class NodePlan(msgspec.Struct, kw_only=True):
    """One node, from creating its directory to the end.

    Args:
        base: the private directory in which the session's own directory is created.
        name: that directory's name; `raylet.session_dir` and `head.session_dir` are both joined.
        raylet: what the raylet needs; on the head's node `raylet.cluster.head_endpoints` is filled
            in once the head listens.
        head: set only on the head's node.
        kind: what starts it, as in `SessionRecord.kind`.
        job: the scheduler's job id, or empty.
        launcher: pid and start time of the `rayhpc run` that waits for the node to end, if any; it
            alone then handles job signals.
        tied: the node ends when the pipe that brought this plan is closed.
        link_from: a directory for a link to the session (empty: none), so that it is found
            although its own base is unusual.
        logs_to: a directory to which the node's logs are copied at its end (empty: none).
        affinity: the processors to run on (empty: unchanged).
        python_path: PYTHONPATH as it was before the starter changed it for this process only.
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


class RestartPlan(msgspec.Struct):
    """A head that is started again (`head_keeper`); with `signals` SIGTERM ends the cluster."""

    head: HeadConfig
    signals: bool


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
    """Read exactly one plan from a pipe; None if the other end closes first.

    Raises:
        ValueError: the data is not a plan of that kind.
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
