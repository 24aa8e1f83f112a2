"""Flow control between two processes (`wire.windows`), and knowing what has been read.

A worker that leaves sends `Flush` (`worker.farewell`), also to its raylet.
"""

from rayhpc.wire.messages.registry import Message


class Credit(Message):
    """Receiver to sender: this many more bytes of your frames have been read."""

    size: int


class Flush(Message):
    """Sender to receiver: answer when you have read this, and so all that I sent before."""


class Flushed(Message):
    """Receiver to sender: everything up to your `Flush` has been read and acted on."""
