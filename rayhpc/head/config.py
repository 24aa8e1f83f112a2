"""What the head process is told when it starts.

Made by `launch`, handed over by an inherited descriptor; holds a secret key, so it is never put
in an argument vector, an environment variable or a log.
"""

from __future__ import annotations

import msgspec

from rayhpc.wire.keys import KeyPair


class HeadConfig(msgspec.Struct):
    """One head.

    `server` is the listener's own key pair, `node_public` the client key of the cluster's nodes.
    `bind` are the addresses to listen on; `port` 0 means any free one, and a taken one is
    replaced by a free one; `ports` bounds the choice.  `version` is rayhpc's, `python` the
    interpreter's major.minor: nodes must have the same.
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


class HeadFacts(msgspec.Struct, frozen=True):
    """The part of the configuration that decides anything: what nodes must have in common."""

    cluster_id: str
    version: str
    python: str
