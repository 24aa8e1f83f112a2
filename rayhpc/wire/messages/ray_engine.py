"""Messages between the ranks when the nodes run the real Ray: who has joined, and the end.

Exchanged by `launch.engines.ray_node` and its counterpart on rank 0; no other process accepts
these.  They travel only through CURVE, so that Ray's address and token are never in a shared file.
"""

from rayhpc.wire.messages.registry import Message


class JoinRay(Message):
    """A node to rank 0, its first message: its versions of Ray and Python (major.minor)."""

    node: int
    host: str
    ray: str
    python: str


class RayIs(Message):
    """Rank 0 to a node: where Ray's head listens (ip:port), and the token needed to join."""

    address: str
    token: str


class RayRefused(Message):
    """Rank 0 to a node: it cannot join; the text says why and what to do."""

    reason: str


class RayNodeUp(Message):
    """A node to rank 0: its Ray has joined."""


class RayNodeEnded(Message):
    """A node to rank 0, its last message: why it leaves, in words."""

    why: str


class RayOver(Message):
    """Rank 0 to all nodes: the cluster ends; exit with this code."""

    code: int


HEAD_TAKES = (JoinRay, RayNodeUp, RayNodeEnded)
NODE_TAKES = (RayIs, RayRefused, RayOver)
