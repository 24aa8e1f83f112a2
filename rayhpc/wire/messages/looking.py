"""What an observer asks of one node or one process: its log, and where its threads are.

Asked by `launch`, answered by raylets and by every process.
"""

from rayhpc.wire.messages.common import Record
from rayhpc.wire.messages.registry import Message


class ReadLog(Message):
    """To a raylet: a piece of its node's log, `size` bytes from `start` on → list[LogPiece].

    A `start` below 0 means the last `size` bytes.
    """

    start: int = -1
    size: int = 65_536


class Stacks(Message):
    """To a process: where each of its threads is now → list[ThreadStack]."""


class LogPiece(Record, frozen=True):
    """A piece of a log file that begins at `start`; `end` is the file's size now, in bytes."""

    start: int
    end: int
    data: bytes


class ThreadStack(Record, frozen=True):
    """One thread, its frames in words, the innermost last."""

    name: str
    frames: str
