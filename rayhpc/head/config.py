"""What the head process is given when it starts, and the exit codes that it ends with.

Created by `launch` and passed through an inherited descriptor; contains a secret key, so it is
never put in an argument vector, an environment variable or a log.
"""

from __future__ import annotations

import msgspec

from rayhpc.wire.keys import KeyPair

# The nodes' exit code when the head's own node is lost (one code per cause).
HEAD_LOST = 71
# The head's own when its database cannot be used: for the cluster it is lost.
UNUSABLE = HEAD_LOST
# With these it has ended for good; with any other it may be started again.
FOR_GOOD = frozenset((0, HEAD_LOST))


class HeadConfig(msgspec.Struct):
    """One head.

    `server` is the listener's own key pair, `node_public` the client key of the cluster's nodes.
    `bind` are the addresses to listen on.  `port` 0 means any free one; a port that is taken is
    replaced by a free one; `ports` restricts the choice.  `endpoints`, where an earlier life of the
    head has listened, are taken instead, and its database in `session_dir` is resumed.
    `version` is rayhpc's, `python` the interpreter's major.minor: nodes must have the same.
    """

    cluster_id: str
    server: KeyPair
    node_public: bytes
    bind: list[str]
    session_dir: str
    version: str
    python: str
    port: int = 0
    ports: tuple[int, int] | None = None
    endpoints: list[tuple[str, int]] = []


class HeadFacts(msgspec.Struct, frozen=True):
    """The part of the configuration that decisions depend on: what nodes must have in common."""

    cluster_id: str
    version: str
    python: str
