"""Direct links between processes of two nodes (`wire.direct_links`): how one begins and ends.

All but `DirectHello` and `DirectAck` go through the raylets; these two go over the link itself.
`number` counts the links between two processes, so that what concerns an earlier one is ignored.
"""

from rayhpc.wire.messages.registry import Message


class DirectAsk(Message):
    """I would dial you, with this client key (public half): where do you listen?"""

    number: int
    key: bytes


class DirectOffer(Message):
    """The answer: dial one of these endpoints; `key` is the listener's public key."""

    number: int
    endpoints: list[tuple[str, int]]
    key: bytes


class DirectRefused(Message):
    """The other answer: there will be no link (`text` is for the user; empty: nothing is wrong)."""

    number: int
    text: str


class DirectHello(Message):
    """The first frame on a link, from the dialling end; the other answers with the same."""

    number: int


class DirectBegins(Message):
    """What I send to you from now on comes over the link; read what comes this way first."""

    number: int


class DirectEnded(Message):
    """The link has ended here, and I have read this many frames from it: send the rest again."""

    number: int
    received: int


class DirectAck(Message):
    """I have read this many frames from the link: you need not keep them."""

    received: int


# What goes through the raylets.
RELAYED = (DirectAsk, DirectOffer, DirectRefused, DirectBegins, DirectEnded)
