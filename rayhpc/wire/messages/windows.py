"""What two processes tell each other about the bytes between them (`wire.windows`)."""

from __future__ import annotations

from rayhpc.wire.messages.registry import Message


class Credit(Message):
    """Receiver to sender: so many more bytes of your frames have been taken in."""

    size: int
