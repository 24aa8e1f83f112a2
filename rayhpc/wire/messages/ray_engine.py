"""Between the ranks whose nodes are those of the real Ray: who is there, and that it is over.

Sent by `launch.engines.ray_node` to its like on rank 0 and back; no other process takes these.
They go through CURVE alone, so that Ray's address and token never lie in a file that nodes share.
"""

from __future__ import annotations

from rayhpc.wire.messages.registry import Message


class JoinRay(Message):
    """A node to rank 0, its first message: which Ray and Python (major.minor) it has."""

    node: int
    host: str
    ray: str
    python: str


class RayIs(Message):
    """Rank 0 to a node: where Ray's head listens (ip:port), and what proves that one may join."""

    address: str
    token: str


class RayRefused(Message):
    """Rank 0 to a node: it cannot join; the sentence says why and what to do."""

    reason: str


class RayNodeUp(Message):
    """A node to rank 0: its Ray has joined."""


class RayNodeEnded(Message):
    """A node to rank 0, its last message: why it leaves, in words."""

    why: str


class RayOver(Message):
    """Rank 0 to all nodes: the cluster ends; they leave with this exit code."""

    code: int


HEAD_TAKES = (JoinRay, RayNodeUp, RayNodeEnded)
NODE_TAKES = (RayIs, RayRefused, RayOver)
