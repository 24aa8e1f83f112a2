"""The messages between rank 0 and the ApplicationMaster on their socket, one per packet.

Rank 0's side is `link` and `resizer`, the ApplicationMaster's is `master.rank_zero`.
"""

from __future__ import annotations

from enum import Enum

import msgspec

#: So many ranks are described in one packet.
MOST_ROWS = 50


class Ready(msgspec.Struct, tag=True):
    """Rank 0: the head is up; `record` (secret) is what the other ranks join with.

    `failed`: there will be no cluster, and the record says why.
    """

    record: bytes
    failed: bool = False


class Want(msgspec.Struct, tag=True):
    """Rank 0: this many nodes are wanted from now on, including this one."""

    nodes: int


class AddRank(msgspec.Struct, tag=True):
    """Rank 0: the rank with this number is wanted, too; `labels` are for its node.

    `options`: of its `rayhpc run`; None: those of the application.
    """

    rank: int
    labels: dict[str, str]
    options: list[str] | None = None


class RemoveRank(msgspec.Struct, tag=True):
    """Rank 0: an added rank is no longer wanted; `if_pending`: unless it has been started."""

    rank: int
    if_pending: bool = False


class LookAtRanks(msgspec.Struct, tag=True):
    """Rank 0: how do the added ranks above `after` stand?  The answer has the same `number`."""

    number: int
    after: int = 0


class Drain(msgspec.Struct, tag=True):
    """The ApplicationMaster: a rank is to leave once its work is done."""

    rank: int


class RankState(str, Enum):
    """Where an added rank stands."""

    PENDING = "pending"  # it has no container yet
    RUNNING = "running"  # its container has been given work
    ENDED = "ended"


class AddedRank(msgspec.Struct, frozen=True):
    """One added rank; `reason`: why it is pending, or how it ended, in words."""

    rank: int
    state: RankState
    host: str = ""
    reason: str = ""


class Ranks(msgspec.Struct, tag=True):
    """The ApplicationMaster: the added ranks asked about, by rank, `MOST_ROWS` at most."""

    number: int
    rows: list[AddedRank]


class Drained(msgspec.Struct, tag=True):
    """Rank 0: that rank's node has left the cluster, or was never in it."""

    rank: int


FromRankZero = Ready | Want | AddRank | RemoveRank | LookAtRanks | Drained
FromMaster = Drain | Ranks
_encoder = msgspec.json.Encoder()
encode = _encoder.encode
_from_rank_zero: msgspec.json.Decoder[FromRankZero] = msgspec.json.Decoder(FromRankZero)
_from_master: msgspec.json.Decoder[FromMaster] = msgspec.json.Decoder(FromMaster)


def from_rank_zero(packet: bytes) -> FromRankZero:
    """Decode a message from rank 0."""
    return _from_rank_zero.decode(packet)


def from_master(packet: bytes) -> FromMaster:
    """Decode a message from the ApplicationMaster."""
    return _from_master.decode(packet)
