"""The error for what the codec rejects."""

from __future__ import annotations


class CodecError(ValueError):
    """A message that cannot be encoded, or bytes that are not such a message."""
