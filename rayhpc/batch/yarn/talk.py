"""The messages between rank 0 and the ApplicationMaster on their socket, one per packet.

Rank 0's side is `link`, the ApplicationMaster's is `master.rank_zero`.
"""

from __future__ import annotations

import msgspec


class Ready(msgspec.Struct, tag=True):
    """Rank 0: the head is up; `record` (secret) is what the other ranks join with.

    `failed`: there will be no cluster, and the record says why.
    """

    record: bytes
    failed: bool = False


class Want(msgspec.Struct, tag=True):
    """Rank 0: this many nodes are wanted from now on, including this one."""

    nodes: int


class Drain(msgspec.Struct, tag=True):
    """The ApplicationMaster: a rank is to leave once its work is done."""

    rank: int


class Drained(msgspec.Struct, tag=True):
    """Rank 0: that rank's node has left the cluster, or was never in it."""

    rank: int


FromRankZero = Ready | Want | Drained
_encoder = msgspec.json.Encoder()
encode = _encoder.encode
_from_rank_zero = msgspec.json.Decoder(FromRankZero)
_from_master = msgspec.json.Decoder(Drain)


def from_rank_zero(packet: bytes) -> FromRankZero:
    """Decode a message from rank 0."""
    return _from_rank_zero.decode(packet)


def from_master(packet: bytes) -> Drain:
    """Decode a message from the ApplicationMaster."""
    return _from_master.decode(packet)
