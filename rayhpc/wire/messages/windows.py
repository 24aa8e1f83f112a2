"""Flow control between two processes (`wire.windows`)."""

from __future__ import annotations

from rayhpc.wire.messages.registry import Message


class Credit(Message):
    """Receiver to sender: this many more bytes of your frames have been read."""

    size: int
