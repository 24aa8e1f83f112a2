"""Between two raylets, about their line itself (`wire.peer_line`): not passed on, not counted."""

from rayhpc.wire.messages.registry import Message


class LinkHello(Message):
    """The first frame over a connection, from the end that has made it.

    `number` counts its attempts, so that an earlier one is ignored; `received` is how many frames
    of the other end it has: what is missing follows the answer.
    """

    number: int
    received: int


class LinkWelcome(Message):
    """The answer: this connection is used.

    `number` is the last `LinkHello.number` of the end that answers: those up to it are void.
    """

    number: int
    received: int


class LinkAck(Message):
    """I have this many of your frames: you need not keep them."""

    received: int
