"""What a machine with a one-time token asks, and what it is told (`wire.join_tokens`)."""

import msgspec

from rayhpc.wire.keys import ClusterKey


class Redeem(msgspec.Struct, frozen=True):
    """The machine that the token was issued for asks for the cluster's key."""

    machine: str


class Redeemed(msgspec.Struct, frozen=True):
    """The answer: the key, or why not.

    `again`: the same question may be answered otherwise in a moment.
    """

    key: ClusterKey | None = None
    error: str = ""
    again: bool = False
