"""What two processes tell each other about the bytes between them (`wire.windows`)."""

from __future__ import annotations

import msgspec


class Credit(msgspec.Struct, array_like=True, tag=12):
    """Receiver to sender: so many more bytes of your frames have been taken in."""

    size: int
